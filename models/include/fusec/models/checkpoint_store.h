// The checkpoints of one run in a folder: step-00000300.safetensors ..., the newest few of them,
// and best.safetensors, the one of the lowest validation loss. Only files of these names are
// touched.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace fusec::models {

class CheckpointStore {
 public:
  // Makes the folder when the first checkpoint is saved. `keep` >= 1 newest ones are kept.
  CheckpointStore(std::string folder, int64_t keep);

  const std::string& folder() const { return folder_; }
  struct Entry {
    int64_t step;
    std::string path;
  };
  // Ascending steps; empty if there is no folder.
  std::vector<Entry> list() const;
  std::string best() const { return folder_ + "/best.safetensors"; }

  // Calls write(path) for the checkpoint of `step`, and only when it has succeeded removes the
  // older ones beyond `keep`, and later ones: they are of a course that this run has left by
  // resuming before them. Returns the path.
  std::string save(int64_t step, const std::function<void(const std::string&)>& write) const;
  // Calls write(best()).
  void save_best(const std::function<void(const std::string&)>& write) const;

  // Removes what interrupted writers left: temporary files.
  void remove_leftovers() const;
  // Removes all checkpoints.
  void clear() const;

 private:
  void make_folder() const;

  std::string folder_;
  int64_t keep_;
};

// A checkpoint file as it is, or the newest one of a folder (of checkpoints, or of a run, which
// holds such a folder). A user Error if there is none.
std::string find_checkpoint(const std::string& file_or_folder);

}  // namespace fusec::models
