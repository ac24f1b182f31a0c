// Stored models and edited copies of them.
#pragma once

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "../../data/scratch.h"
#include "fusec/io/json.h"
#include "fusec/io/safetensors.h"

namespace fusec::tests {

inline std::string fixture(const std::string& name) {
  return std::string(FUSEC_IMPORT_FIXTURES) + "/" + name;
}

// A copy of a stored model in a folder of its own.
class ModelCopy {
 public:
  explicit ModelCopy(const std::string& name) : folder_(scratch_ / name) {
    std::filesystem::copy(fixture(name), folder_, std::filesystem::copy_options::recursive);
  }
  const std::string& folder() const { return folder_; }
  std::string operator/(const std::string& file) const { return folder_ + "/" + file; }

  // Merges `patch` into a JSON file; a null removes a key.
  void edit(const nlohmann::json& patch, const std::string& file = "config.json") {
    nlohmann::json json = nlohmann::json::parse(io::read_file(*this / file));
    json.merge_patch(patch);
    io::write_file(*this / file, json.dump());
  }
  // Rewrites the weights: `change` may rename, reshape and refill a tensor, or drop it (false).
  using Change = std::function<bool(io::NamedType&, std::string&)>;
  void rewrite(const Change& change, const std::vector<io::NamedType>& more = {}) {
    std::vector<io::NamedType> types;
    std::vector<std::string> bytes;
    {
      const io::SafetensorsReader file(*this / "model.safetensors");
      for (const io::TensorEntry& t : file.header().tensors) {
        io::NamedType type{t.name, t.type};
        std::string data = file.read(t);
        if (!change(type, data)) continue;
        types.push_back(type);
        bytes.push_back(data);
      }
    }
    for (const io::NamedType& type : more) {
      types.push_back(type);
      bytes.emplace_back(static_cast<size_t>(type.type.bytes()), '\0');
    }
    io::write_safetensors(*this / "model.safetensors", types, {},
                          [&](size_t i) -> std::string_view { return bytes[i]; });
  }

 private:
  Scratch scratch_;
  std::string folder_;
};

}  // namespace fusec::tests
