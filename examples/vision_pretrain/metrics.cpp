// Results to lines of JSON, and such lines back to loss curves; see metrics.h.
#include "metrics.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "fusec/base/error.h"
#include "fusec/io/json.h"

namespace fusec::examples {

void Metrics::train(int64_t step, const models::StepResult& result, double lr,
                    double tokens_per_second, double seconds) {
  nlohmann::ordered_json line = {{"kind", "train"},
                                 {"step", step},
                                 {"loss", result.loss},
                                 {"grad_norm", result.grad_norm},
                                 {"lr", lr},
                                 {"tokens_per_second", tokens_per_second},
                                 {"seconds", seconds}};
  file_.write(line);
}

void Metrics::skipped(int64_t step, const models::StepResult& result) {
  nlohmann::ordered_json line = {{"kind", "skipped"}, {"step", step}, {"culprit", result.culprit}};
  file_.write(line);
}

void Metrics::validation(int64_t step, const std::vector<std::pair<std::string, double>>& losses) {
  nlohmann::ordered_json line = {{"kind", "validation"}, {"step", step}};
  for (const auto& [name, loss] : losses) line[name] = loss;
  file_.write(line);
}

void Metrics::captions(const std::string& set, double exact, double name, double words,
                       size_t count) {
  nlohmann::ordered_json line = {{"kind", "captions"}, {"set", set},     {"exact", exact},
                                 {"name", name},       {"words", words}, {"count", count}};
  file_.write(line);
}

std::vector<Curve> read_curves(const std::string& path, uint64_t bytes,
                               const std::vector<std::string>& sets) {
  std::vector<Curve> curves = {{"train", {}}};
  for (const std::string& set : sets) curves.push_back({set, {}});
  const std::vector<Curve> none = curves;
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (error || size < bytes) return none;
  const std::string text = io::read_file(path, UINT64_MAX).substr(0, bytes);
  try {
    for (size_t begin = 0; begin < text.size();) {
      const size_t end = std::min(text.find('\n', begin), text.size());
      const auto line = io::parse_json(text.substr(begin, end - begin), path, 1);
      begin = end + 1;
      auto add = [&](Curve& curve, const char* key) {
        auto value = line.find(key);
        if (value == line.end() || !value->is_number()) return;
        curve.points.emplace_back(line.at("step").get<double>(), value->get<double>());
      };
      const std::string kind = line.at("kind").get<std::string>();
      if (kind == "train") add(curves[0], "loss");
      if (kind != "validation") continue;
      for (size_t i = 0; i < sets.size(); ++i) add(curves[i + 1], sets[i].c_str());
    }
  } catch (const Error&) {
    return none;
  } catch (const nlohmann::json::exception&) {
    return none;
  }
  return curves;
}

}  // namespace fusec::examples
