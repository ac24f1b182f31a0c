// The command line and config file of vision_pretrain -> one checked struct.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "fusec/models/trainer.h"

namespace fusec::examples {

struct RunOptions {
  // Data.
  std::string data = "data/emoji";  // folder with train, val_tones and val_unseen .jsonl
  std::string categories;           // comma-separated; empty: all
  int min_count = 1;                // a word seen less often is spelled in bytes
  bool blank = false;               // white pictures: the control

  // Model and training. `trainer.model.vocab` (of "tiny") and `.sequence` are set from the data;
  // sequence keeps a value given on the command line.
  models::TrainerOptions trainer;
  models::Schedule schedule;
  double lr = 1e-3;
  int64_t steps = 2400;  // 0: no limit; then minutes is not 0
  double minutes = 0;    // 0: no limit
  int64_t sequence = 0;  // 0: as long as the longest training caption needs

  // First weights and checkpoints.
  std::string init;                   // file of weights; empty: random
  std::optional<std::string> resume;  // checkpoint or folder; "": of `out`
  int64_t save_every = 300;           // steps between checkpoints; 0: only at the end
  int64_t keep = 3;                   // newest checkpoints that stay
  // What must not change when a run goes on: flags by name, in one spelling. The data set's hash is
  // added when it has been read.
  std::map<std::string, std::string> fixed;
  std::string resume_command;  // what to type to go on

  bool profiled = false;
  std::string profile;  // folder for the profile's files

  // Output.
  std::string out = "runs/emoji";
  int64_t eval_every = 300;  // steps between validations
  int64_t log_every = 10;    // steps between lines of metrics.jsonl
  int64_t samples = 24;      // held-out captions printed of each set
  std::string config_text;   // the options as a config file that repeats the run
};

// Empty after --help, whose text has then been printed. A wrong flag or value is a user Error that
// names the nearest valid one.
std::optional<RunOptions> parse_command_line(int argc, char** argv);

}  // namespace fusec::examples
