// Options and checkpoints on disk to a trainer that is ready for its next step; see start.h.
#include "start.h"

#include <filesystem>
#include <fmt/format.h>

#include "fusec/base/error.h"
#include "fusec/models/checkpoint.h"
#include "fusec/models/checkpoint_store.h"

namespace fusec::examples {
namespace {

namespace fs = std::filesystem;

bool lies_in(const std::string& file, const std::string& folder) {
  std::error_code error;
  return fs::equivalent(fs::path(file).parent_path(), folder, error) && !error;
}

// An older checkpoint of the same folder, as help for one that cannot be used.
std::string earlier_than(const models::CheckpointStore& store, const std::string& path) {
  const auto entries = store.list();
  for (auto it = entries.rbegin(); it != entries.rend(); ++it) {
    std::error_code error;
    if (!fs::equivalent(it->path, path, error)) return it->path;
  }
  return "";
}

void import_weights(models::CaptionTrainer& trainer, const std::string& path) {
  const models::Import import = trainer.import_weights(path);
  fmt::print("first weights: {}\n", path);
  for (const auto& [types, count] : import.converted) {
    fmt::print("  {} tensors converted, {}\n", count, types);
  }
  if (!import.metadata.count("tokenizer")) {
    fmt::print("  the file does not say which tokenizer it was made with; ours is {}\n",
               trainer.tokenizer().hash_text());
  }
}

}  // namespace

std::string checkpoint_folder(const RunOptions& options) { return options.out + "/checkpoints"; }
std::string metrics_path(const RunOptions& options) { return options.out + "/metrics.jsonl"; }

std::string find_start(const RunOptions& options) {
  const models::CheckpointStore store(checkpoint_folder(options), options.keep);
  std::string checkpoint;
  if (options.resume) {
    checkpoint = models::find_checkpoint(options.resume->empty() ? options.out : *options.resume);
    try {
      const models::CheckpointInfo info = models::read_checkpoint_info(checkpoint);
      models::refuse_changed_run(checkpoint, info.run, options.fixed);
    } catch (Error& error) {
      const std::string earlier = earlier_than(store, checkpoint);
      if (!earlier.empty()) error.add_note("an earlier checkpoint is " + earlier);
      throw;
    }
  }
  const bool continues = !checkpoint.empty() && lies_in(checkpoint, store.folder());
  const auto entries = store.list();
  if (continues || entries.empty()) return checkpoint;
  const bool finished = models::read_checkpoint_info(entries.back().path).state.finished;
  if (!finished) {
    fail_user(
        fmt::format("{} holds the checkpoints of a run that stopped at step {} before its "
                    "end: --resume goes on with it; to start anew, remove that folder or "
                    "choose another --out",
                    store.folder(), entries.back().step));
  }
  return checkpoint;
}

models::TrainState begin_run(models::CaptionTrainer& trainer, const Dataset& data,
                             const RunOptions& options, const std::string& checkpoint) {
  const models::CheckpointStore store(checkpoint_folder(options), options.keep);
  store.remove_leftovers();
  const bool continues = !checkpoint.empty() && lies_in(checkpoint, store.folder());
  models::TrainState state;
  state.cursor_count = static_cast<int64_t>(data.train.size());
  state.cursor_seed = options.trainer.seed;
  if (!checkpoint.empty()) {
    state = trainer.resume(checkpoint, options.fixed);
    fmt::print("going on after step {} of {}\n", state.step, checkpoint);
  } else if (!options.init.empty()) {
    import_weights(trainer, options.init);
  }
  if (continues) {
    std::error_code error;
    const auto size = fs::file_size(metrics_path(options), error);
    if (!error && size >= state.metrics_bytes) return state;
    fmt::print("{} is shorter than at that step: it begins anew here\n", metrics_path(options));
  } else {
    store.clear();
  }
  state.metrics_bytes = 0;
  return state;
}

}  // namespace fusec::examples
