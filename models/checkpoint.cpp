// Safetensors files to named tensors and back; see checkpoint.h.
#include "fusec/models/checkpoint.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "fusec/base/nearest.h"
#include "fusec/io/file.h"

namespace fusec::models {
namespace {

using nlohmann::json;

struct TypeName {
  const char* name;
  DType type;
};
constexpr TypeName kTypes[] = {{"F64", f64}, {"F32", f32}, {"BF16", bf16}, {"F16", f16},
                               {"I64", i64}, {"I32", i32}, {"U8", u8},     {"BOOL", b8}};
// The format's own limit on the header.
constexpr uint64_t kMaxHeader = 100'000'000;

[[noreturn]] void broken(const std::string& path, const std::string& what) {
  fail_user(path + " is not a sound safetensors file: " + what +
            "; it may be cut short or damaged, write or copy it again");
}

// " (did you mean ...?)", or nothing: a model has too many names to list them all.
std::string hint(const std::string& name, const std::vector<std::string>& known) {
  std::string near = nearest(name, known);
  return near.empty() ? "" : " (did you mean \"" + near + "\"?)";
}

NamedTensor parse_tensor(const std::string& path, const std::string& name, const json& entry,
                         std::string_view payload, uint64_t& begin) {
  NamedTensor tensor{name, {}, {}};
  std::string type = entry.at("dtype").get<std::string>();
  auto known = std::find_if(std::begin(kTypes), std::end(kTypes),
                            [&](const TypeName& t) { return type == t.name; });
  if (known == std::end(kTypes)) broken(path, name + " has unknown element type " + type);
  tensor.type.dtype = known->type;
  uint64_t bytes = static_cast<uint64_t>(size_of(known->type));
  for (const json& size : entry.at("shape")) {
    int64_t n = size.get<int64_t>();
    uint64_t product = 0;
    if (n < 0 || __builtin_mul_overflow(bytes, static_cast<uint64_t>(n), &product)) {
      broken(path, name + " has an impossible shape");
    }
    bytes = product;
    tensor.type.shape.push_back(n);
  }
  begin = entry.at("data_offsets").at(0).get<uint64_t>();
  uint64_t end = entry.at("data_offsets").at(1).get<uint64_t>();
  if (begin > end || end > payload.size()) {
    broken(path, name + " lies outside the file's " + std::to_string(payload.size()) + " bytes");
  }
  if (end - begin != bytes) {
    broken(path, name + " " + tensor.type.str() + " needs " + std::to_string(bytes) +
                     " bytes, found " + std::to_string(end - begin));
  }
  tensor.data = payload.substr(begin, bytes);
  return tensor;
}

}  // namespace

void write_safetensors(const std::string& path, const Checkpoint& checkpoint) {
  nlohmann::ordered_json header;
  if (!checkpoint.metadata.empty()) header["__metadata__"] = checkpoint.metadata;
  uint64_t offset = 0;
  for (const NamedTensor& t : checkpoint.tensors) {
    if (static_cast<int64_t>(t.data.size()) != t.type.bytes()) {
      fail_internal("write_safetensors: " + t.name + " " + t.type.str() + " holds " +
                    std::to_string(t.data.size()) + " bytes");
    }
    auto known = std::find_if(std::begin(kTypes), std::end(kTypes),
                              [&](const TypeName& row) { return row.type == t.type.dtype; });
    if (header.contains(t.name)) {
      fail_internal("write_safetensors: two tensors named " + t.name);
    }
    header[t.name] = {{"dtype", known->name},
                      {"shape", t.type.shape},
                      {"data_offsets", {offset, offset + t.data.size()}}};
    offset += t.data.size();
  }
  std::string text = header.empty() ? "{}" : header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');  // the payload starts aligned
  std::string bytes;
  bytes.reserve(8 + text.size() + offset);
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(text.size() >> (8 * i));
  bytes += text;
  for (const NamedTensor& t : checkpoint.tensors) bytes += t.data;
  io::write_file(path, bytes);
}

Checkpoint read_safetensors(const std::string& path) {
  std::string bytes = io::read_file(path, uint64_t{1} << 40);
  if (bytes.size() < 8) broken(path, "it has " + std::to_string(bytes.size()) + " bytes");
  uint64_t size = 0;
  for (int i = 0; i < 8; ++i) size |= uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
  if (size > kMaxHeader || size > bytes.size() - 8) {
    broken(path, "its header claims " + std::to_string(size) + " bytes of " +
                     std::to_string(bytes.size()));
  }
  std::string_view payload = std::string_view(bytes).substr(8 + size);
  Checkpoint checkpoint;
  std::vector<std::pair<uint64_t, size_t>> order;  // begin -> tensor
  try {
    json header = json::parse(bytes.begin() + 8, bytes.begin() + 8 + static_cast<int64_t>(size));
    for (const auto& [name, entry] : header.items()) {
      if (name == "__metadata__") {
        checkpoint.metadata = entry.get<std::map<std::string, std::string>>();
        continue;
      }
      uint64_t begin = 0;
      checkpoint.tensors.push_back(parse_tensor(path, name, entry, payload, begin));
      order.emplace_back(begin, checkpoint.tensors.size() - 1);
    }
  } catch (const json::exception& e) {
    broken(path, std::string("its header does not parse (") + e.what() + ")");
  }
  std::sort(order.begin(), order.end(), [&](const auto& a, const auto& b) {
    if (a.first != b.first) return a.first < b.first;
    return checkpoint.tensors[a.second].data.size() < checkpoint.tensors[b.second].data.size();
  });
  uint64_t at = 0;
  for (auto [begin, index] : order) {
    if (begin != at) broken(path, "its tensors overlap or leave a gap");
    at += checkpoint.tensors[index].data.size();
  }
  if (at != payload.size()) broken(path, "it has bytes that no tensor owns");
  return checkpoint;
}

void save_parameters(const Executable& exe, const std::string& path,
                     std::map<std::string, std::string> metadata) {
  Checkpoint checkpoint{{}, std::move(metadata)};
  for (const PlanBuffer& buffer : exe.plan().buffers) {
    if (buffer.cls != BufferClass::parameter) continue;
    NamedTensor tensor{buffer.name, buffer.type, std::string(buffer.type.bytes(), '\0')};
    exe.read(buffer.name, tensor.data.data(), tensor.data.size());
    checkpoint.tensors.push_back(std::move(tensor));
  }
  write_safetensors(path, checkpoint);
}

std::map<std::string, std::string> load_parameters(Executable& exe, const std::string& path) {
  Checkpoint checkpoint = read_safetensors(path);
  std::map<std::string, const NamedTensor*> found;
  std::vector<std::string> stored;
  for (const NamedTensor& t : checkpoint.tensors) {
    found[t.name] = &t;
    stored.push_back(t.name);
  }
  std::set<std::string> wanted;
  for (const PlanBuffer& buffer : exe.plan().buffers) {
    if (buffer.cls != BufferClass::parameter) continue;
    wanted.insert(buffer.name);
    auto it = found.find(buffer.name);
    if (it == found.end()) {
      fail_user(path + " has no tensor \"" + buffer.name + "\"" + hint(buffer.name, stored));
    }
    if (!(it->second->type == buffer.type)) {
      fail_user(path + ": tensor \"" + buffer.name + "\" is " + it->second->type.str() +
                ", the model expects " + buffer.type.str());
    }
  }
  for (const std::string& name : stored) {
    if (!wanted.count(name)) {
      fail_user(path + ": tensor \"" + name + "\" is not part of the model" +
                hint(name, {wanted.begin(), wanted.end()}));
    }
  }
  for (const std::string& name : wanted) {
    exe.write(name, found[name]->data.data(), found[name]->data.size());
  }
  return checkpoint.metadata;
}

}  // namespace fusec::models
