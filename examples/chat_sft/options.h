// The command line and config file of chat_sft -> one checked struct.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "fusec/data/pipeline.h"
#include "fusec/models/chat_render.h"
#include "fusec/models/packed_trainer.h"

namespace fusec::examples {

struct SftOptions {
  // Data. Paths are JSONL files or folders of them.
  std::vector<std::string> train = {"data/chat/train"}, validation = {"data/chat/val"};
  std::string tokenizer;      // a tokenizer.json; "": of `init`, or beside the data
  std::string chat_template;  // a name; "": that of `init`, or "plain"
  models::Supervise supervise = models::Supervise::all_answers;
  bool drop_bad = false;  // documents and images that are refused are left out and counted
  data::PipelineOptions pipeline;
  data::PipelineResources resources;

  // Model. `init` and `vision` are anything that ModelFile reads, or the folder of a run.
  std::string init, vision;
  std::string preset = "tiny";  // of a model that begins at random
  models::LoraConfig lora;

  // Training.
  std::string select = "all";  // --train
  int64_t accumulate = 1;      // batches an update
  models::AdamWOptions optimizer;
  models::Schedule schedule;
  double lr = 1e-3;
  int64_t steps = 0;  // 0: no limit; then epochs is not 0
  double epochs = 0;  // passes over the training documents; 0: no limit
  uint64_t seed = 0;
  int64_t patience = 0;   // validations without a better one that end the run; 0: never
  bool keep_best = true;  // the weights of the best validation are what the run leaves

  // Run.
  CompileOptions compile;
  std::optional<std::string> resume;  // checkpoint or folder; "": of `out`
  std::string out = "runs/chat";
  int64_t eval_every = 200, save_every = 200, keep = 2, log_every = 10;
  int64_t samples = 8;     // validation chats that are answered at the end
  int64_t show_batch = 0;  // batches to print instead of training
  bool profiled = false;
  // What must not change when a run goes on: flags by name, in one spelling.
  std::map<std::string, std::string> fixed;
  std::string resume_command, config_text;
};

// Empty after --help, whose text has then been printed. A wrong flag or value is a user Error that
// names the nearest valid one.
std::optional<SftOptions> parse_command_line(int argc, char** argv);

}  // namespace fusec::examples
