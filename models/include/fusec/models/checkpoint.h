// Weights and checkpoints on disk, both .safetensors files.
//
// Weights: every parameter under its name, and metadata. Other programs read them, and
// load_parameters reads files of other programs.
//
// A checkpoint is one such file, too, rather than a folder: one rename makes it appear whole,
// nothing in it can be mixed up with parts of another, and any safetensors viewer opens it. It
// holds
//   <parameter>              as in weights, frozen ones included
//   optimizer.<state>        every state of the training step: AdamW's moments. Not the sums of
//                            gradients of packed_graphs.h, which are zeros between updates
//   metadata "format"        "fusec-checkpoint"; "version" the version of all this
//            "model"         the model config; "tokenizer" the tokenizer's hash
//            "state"         TrainState: step, random numbers, data cursor, counters
//            "run"           flags and data that the run must go on with
//            "data"          where a data pipeline stands, if there is one
#pragma once

#include <map>
#include <string>
#include <vector>

#include "fusec/fusec.h"
#include "fusec/models/config.h"
#include "fusec/models/train_state.h"

namespace fusec::models {

// Every parameter of the executable, in its order.
void save_parameters(const Executable& exe, const std::string& path,
                     std::map<std::string, std::string> metadata = {});

struct Import {
  std::map<std::string, std::string> metadata;
  std::map<std::string, int64_t> converted;  // "bf16 -> f32" -> tensors
};

// Fills every parameter of the executable from a file of weights, or from the parameters of a
// checkpoint. f32, bf16 and f16 are converted into each other (rounding to nearest even) and
// counted. Strict: parameters that are missing, tensors that the model does not have, other shapes,
// and types that are not converted are listed in one user Error, at most ten names of each kind
// with the nearest name, and then nothing has been written. A file without LoRA (lora.h) leaves
// that as it is.
Import load_parameters(Executable& exe, const std::string& path);
// The same for plans that share their memory, or hold different parts of a model: the file has the
// parameters of all of them, each once.
Import load_parameters(const std::vector<LoadedPlan*>& plans, const std::string& path);

// What a checkpoint says of itself.
struct CheckpointInfo {
  VisionGptConfig model;
  std::string tokenizer;  // hash, 16 hexadecimal digits
  TrainState state;
  std::map<std::string, std::string> run;  // flag -> value, for refuse_changed_run()
  std::string data = "";  // where a data pipeline stands (pipeline_state.h); "" without one
};

inline constexpr int kCheckpointVersion = 2;

// The file's header alone is read. A file that is no checkpoint, is damaged, or is of another
// version is a user Error.
CheckpointInfo read_checkpoint_info(const std::string& path);

// Writes parameters and states of a training step. The file is there as a whole or not at all, and
// outlasts a power cut. A value that is not finite is a user Error that names its tensor: a run
// must not go on from there.
void save_checkpoint(const Executable& exe, const std::string& path, const CheckpointInfo& info);
// The same of all parameters and states of plans that share their memory, such as the accumulation
// and the update of packed_graphs.h.
void save_checkpoint(const std::vector<const LoadedPlan*>& plans, const std::string& path,
                     const CheckpointInfo& info);

// Fills parameters and states of a training step, bit for bit. The file's names, shapes and types
// must be the executable's, else one user Error as above. Does not compare models or runs.
void load_checkpoint(Executable& exe, const std::string& path);
// The same for plans that share their memory.
void load_checkpoint(const std::vector<LoadedPlan*>& plans, const std::string& path);

// User Error with each flag of the run that is not as recorded: its name, the old and the new
// value.
void refuse_changed_run(const std::string& path, const std::map<std::string, std::string>& recorded,
                        const std::map<std::string, std::string>& now);

}  // namespace fusec::models
