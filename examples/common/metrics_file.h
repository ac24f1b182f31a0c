// The numbers of a run, one JSON object a line. A run that goes on cuts the file back to where its
// checkpoint stands, so that each step has its line once.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "fusec/io/file.h"

namespace fusec::examples {

class MetricsFile {
 public:
  // Keeps the first `keep` bytes of the file. A path that cannot be written is a user Error; a line
  // that later cannot be (a full disk) is a warning on stderr and is lost, and training goes on.
  MetricsFile(const std::string& path, uint64_t keep) : file_(path, keep) {}

  // A number that is not finite is written as null.
  void write(const nlohmann::ordered_json& line);

  uint64_t size() const { return file_.size(); }
  // Called before a checkpoint that counts on the lines so far.
  void sync() { file_.sync(); }

 private:
  io::LineFile file_;
  bool warned_ = false;
};

}  // namespace fusec::examples
