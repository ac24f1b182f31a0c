// Weights of a model file into an executable, or into a file of this project; see model_file.h.
#include <algorithm>

#include "../match_tensors.h"
#include "description.h"
#include "fusec/base/error.h"
#include "fusec/io/safetensors.h"
#include "fusec/models/lora.h"
#include "fusec/models/model_file.h"

namespace fusec::models {
namespace {

std::string module_of(const std::string& name) { return name.substr(0, name.find('.')); }

void count(Conversions& conversions, const ModelTensor& tensor, DType to) {
  const std::string type(name_of(to));
  if (tensor.stored != type) ++conversions[tensor.stored + " -> " + type];
}

}  // namespace

Conversions load_model(Executable& exe, const ModelFile& file) {
  return load_model(std::vector<LoadedPlan*>{&exe}, file);
}

Conversions load_model(const std::vector<LoadedPlan*>& plans, const ModelFile& file,
                       const std::vector<std::string>& leave) {
  std::vector<io::TensorEntry> found;
  std::map<std::string, size_t> index;
  std::map<std::string, bool> modules;
  for (size_t i = 0; i < file.tensors().size(); ++i) {
    const ModelTensor& t = file.tensors()[i];
    if (std::find(leave.begin(), leave.end(), module_of(t.name)) != leave.end()) continue;
    found.push_back({t.name, t.type});
    index[t.name] = i;
    modules[module_of(t.name)] = true;
  }
  std::vector<WantedTensor> wanted;
  std::map<std::string, LoadedPlan*> owner;  // the first plan that has it
  for (LoadedPlan* plan : plans) {
    for (const PlanBuffer& buffer : plan->plan().buffers) {
      const bool filled = buffer.cls == BufferClass::parameter && !is_lora(buffer.name) &&
                          modules.count(module_of(buffer.name)) > 0;
      if (filled && owner.emplace(buffer.name, plan).second)
        wanted.push_back({buffer.name, buffer.name, buffer.type});
    }
  }
  Conversions conversions;
  for (const TensorMatch& m : match_tensors(file.path(), found, wanted, Conversion::floats, {})) {
    const size_t i = index.at(m.target.name);
    const std::string bytes =
        convert_floats(file.read(i), m.source->type.dtype, m.target.type.dtype);
    count(conversions, file.tensors()[i], m.target.type.dtype);
    owner.at(m.target.buffer)->write(m.target.buffer, bytes.data(), bytes.size());
  }
  return conversions;
}

Conversions save_model(const ModelFile& file, const std::string& path, std::optional<DType> type) {
  if (type && *type != f32 && *type != bf16 && *type != f16)
    fail_user(path + ": weights as " + std::string(name_of(*type)) + ", expected f32, bf16 or f16");
  std::vector<io::NamedType> types;
  Conversions conversions;
  for (const ModelTensor& t : file.tensors()) {
    types.push_back({t.name, {t.type.shape, type.value_or(t.type.dtype)}});
    count(conversions, t, types.back().type.dtype);
  }
  std::string bytes;
  io::write_safetensors(path, types, own_metadata(file.info()), [&](size_t i) -> std::string_view {
    bytes = convert_floats(file.read(i), file.tensors()[i].type.dtype, types[i].type.dtype);
    return bytes;
  });
  return conversions;
}

void save_model(const std::vector<const LoadedPlan*>& plans, const ModelInfo& info,
                const LoraConfig& lora, const std::string& path) {
  std::vector<io::NamedType> types;
  std::map<std::string, const LoadedPlan*> owner;  // the first plan that has it
  for (const LoadedPlan* plan : plans)
    for (const PlanBuffer& buffer : plan->plan().buffers)
      if (buffer.cls == BufferClass::parameter && !is_lora(buffer.name) &&
          owner.emplace(buffer.name, plan).second)
        types.push_back({buffer.name, buffer.type});
  std::vector<float> values;
  io::write_safetensors(path, types, own_metadata(info), [&](size_t i) -> std::string_view {
    values = merged_weight(*owner.at(types[i].name), types[i].name, lora);
    return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
  });
}

}  // namespace fusec::models
