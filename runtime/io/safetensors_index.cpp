// An index of safetensors files -> one view of their tensors; see safetensors_index.h.
#include "fusec/io/safetensors_index.h"

#include <filesystem>

#include "fusec/base/error.h"
#include "fusec/base/nearest.h"
#include "fusec/io/json.h"

namespace fusec::io {
namespace {

using nlohmann::json;

constexpr uint64_t kMaxIndex = 100'000'000;
// {"weight_map": {...}}, and room for what "metadata" may hold.
constexpr int kIndexDepth = 8;

[[noreturn]] void broken(const std::string& file, const std::string& what) {
  fail_user(file + " is not a sound index of safetensors files: " + what +
            "; copy it and the files that it lists again");
}

std::string quote(const std::string& name) { return "\"" + excerpt(name) + "\""; }

// A file of the index's own folder: an index from elsewhere must not choose what else is opened.
bool is_plain_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\0", 2)) == std::string::npos;
}

}  // namespace

SafetensorsIndex parse_safetensors_index(std::string_view text, const std::string& name) {
  json index;
  try {
    index = parse_json(text, name, kIndexDepth);
  } catch (const Error& error) {
    broken(name, "it does not parse (" + error.message() + ")");
  }
  if (!index.is_object()) broken(name, "it is " + describe(index) + ", expected an object");
  auto map = index.find("weight_map");
  if (map == index.end()) broken(name, "it has no \"weight_map\"");
  if (!map->is_object()) {
    broken(name, "\"weight_map\" is " + describe(*map) + ", expected {tensor: file}");
  }
  SafetensorsIndex result;
  for (const auto& [tensor, file] : map->items()) {
    if (!file.is_string()) {
      broken(name, "the file of tensor " + quote(tensor) + " is " + describe(file) +
                       ", expected a string");
    }
    const auto& file_name = file.get_ref<const std::string&>();
    if (!is_plain_name(file_name)) {
      broken(name, "tensor " + quote(tensor) +
                       " needs the name of a file in the index's folder, found " +
                       quote(file_name));
    }
    result.file_of[tensor] = file_name;
  }
  return result;
}

ShardedSafetensors::ShardedSafetensors(const std::string& index_path) : path_(index_path) {
  const SafetensorsIndex index =
      parse_safetensors_index(read_file(index_path, kMaxIndex), index_path);
  const std::filesystem::path folder = std::filesystem::path(index_path).parent_path();
  std::map<std::string, std::string> first_of;  // an example of a tensor for each file
  for (const auto& [tensor, file] : index.file_of) first_of.emplace(file, tensor);
  std::map<std::string, std::string> file_of;  // as the files themselves say
  for (const auto& [file, example] : first_of) {
    try {
      shards_.push_back(std::make_unique<SafetensorsReader>((folder / file).string()));
    } catch (Error& error) {
      error.add_note("listed in " + index_path + " as the file of tensor " + quote(example));
      throw;
    }
    for (const TensorEntry& entry : shards_.back()->header().tensors) {
      auto [other, fresh] = file_of.emplace(entry.name, file);
      if (!fresh) {
        broken(index_path, "tensor " + quote(entry.name) + " lies in two files, " +
                               quote(other->second) + " and " + quote(file));
      }
      if (!index.file_of.contains(entry.name)) {
        broken(index_path,
               "tensor " + quote(entry.name) + " of the file " + quote(file) + " is not listed");
      }
      tensors_[entry.name] = {entry, shards_.back().get()};
    }
  }
  for (const auto& [tensor, file] : index.file_of) {
    auto found = file_of.find(tensor);
    if (found != file_of.end() && found->second == file) continue;
    broken(index_path, "tensor " + quote(tensor) + " is not in its file " + quote(file) +
                           (found == file_of.end() ? std::string(" nor in another one")
                                                   : ", but in " + quote(found->second)));
  }
}

const ShardTensor& ShardedSafetensors::tensor(const std::string& name) const {
  auto it = tensors_.find(name);
  if (it != tensors_.end()) return it->second;
  std::vector<std::string> names;
  for (const auto& [known, tensor] : tensors_) names.push_back(known);
  const std::string near = nearest(name, names);
  fail_user(path_ + ": no tensor \"" + name + "\"" +
            (near.empty() ? " among its " + std::to_string(names.size())
                          : "; did you mean " + quote(near) + "?"));
}

std::string ShardedSafetensors::read(const std::string& name) const {
  const ShardTensor& found = tensor(name);
  return found.shard->read(found.entry);
}

}  // namespace fusec::io
