// The numbers of a run, one JSON object a line, in OUT/metrics.jsonl; "kind" tells them apart:
//   {"kind":"train","step","loss","grad_norm","lr","tokens_per_second","seconds"}
//   {"kind":"skipped","step","culprit"}     the loss or the gradient norm was not finite: no update
//   {"kind":"validation","step","<set name>": loss, ...}
//   {"kind":"captions","set","exact","name","words","count"}
// A loss that is not finite is written as null.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "fusec/models/trainer.h"
#include "metrics_file.h"
#include "picture.h"

namespace fusec::examples {

class Metrics {
 public:
  // As MetricsFile.
  Metrics(const std::string& path, uint64_t keep) : file_(path, keep) {}

  void train(int64_t step, const models::StepResult& result, double lr, double tokens_per_second,
             double seconds);
  void skipped(int64_t step, const models::StepResult& result);
  void validation(int64_t step, const std::vector<std::pair<std::string, double>>& losses);
  void captions(const std::string& set, double exact, double name, double words, size_t count);

  uint64_t size() const { return file_.size(); }
  // Called before a checkpoint that counts on the lines so far.
  void sync() { file_.sync(); }

 private:
  MetricsFile file_;
};

// The curves that the first `bytes` of a metrics file draw: "train", then `sets`. Empty ones if the
// file is shorter or does not parse: they only make a picture.
std::vector<Curve> read_curves(const std::string& path, uint64_t bytes,
                               const std::vector<std::string>& sets);

}  // namespace fusec::examples
