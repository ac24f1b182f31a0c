// Executables to safetensors files and back; see checkpoint.h.
#include "fusec/models/checkpoint.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "fields.h"
#include "fusec/io/safetensors.h"
#include "fusec/models/packed_graphs.h"
#include "match_tensors.h"

namespace fusec::models {
namespace {

constexpr const char* kFormat = "fusec-checkpoint";
constexpr const char* kStatePrefix = "optimizer.";

bool is_checkpoint(const io::SafetensorsHeader& header) {
  auto it = header.metadata.find("format");
  return it != header.metadata.end() && it->second == kFormat;
}

// The buffers that a file holds, by their names in the file, and for each the first plan that has
// it. States only with `states`.
template <class Plan>
struct Held {
  std::vector<WantedTensor> tensors;
  std::map<std::string, Plan*> owner;  // by the buffer's name

  Held(const std::vector<Plan*>& plans, bool states) {
    for (Plan* plan : plans) {
      for (const PlanBuffer& buffer : plan->plan().buffers) {
        const bool parameter = buffer.cls == BufferClass::parameter;
        const bool state = buffer.cls == BufferClass::state && !is_gradient_state(buffer.name);
        if (!parameter && !(states && state)) continue;
        if (!owner.emplace(buffer.name, plan).second) continue;
        tensors.push_back(
            {(parameter ? "" : kStatePrefix) + buffer.name, buffer.name, buffer.type});
      }
    }
  }
};

void write(const std::vector<const LoadedPlan*>& plans, const std::string& path, bool checkpoint,
           const std::map<std::string, std::string>& metadata) {
  const Held<const LoadedPlan> held(plans, checkpoint);
  const std::vector<WantedTensor>& tensors = held.tensors;
  std::vector<io::NamedType> types;
  for (const WantedTensor& t : tensors) types.push_back({t.name, t.type});
  std::string bytes;
  auto bytes_of = [&](size_t i) -> std::string_view {
    bytes.resize(static_cast<size_t>(tensors[i].type.bytes()));
    held.owner.at(tensors[i].buffer)->read(tensors[i].buffer, bytes.data(), bytes.size());
    if (checkpoint && !all_finite(bytes, tensors[i].type.dtype)) {
      fail_user(
          path + ": not written: " + tensors[i].name +
          " holds NaN or infinity, and no run can go on from that; an earlier checkpoint can");
    }
    return bytes;
  };
  io::write_safetensors(path, types, metadata, bytes_of, checkpoint);
}

const std::string& entry(const io::SafetensorsReader& file, const char* key) {
  auto it = file.header().metadata.find(key);
  if (it == file.header().metadata.end()) {
    fail_user(file.path() + ": a checkpoint without \"" + key +
              "\" in its metadata; it was edited, use another one");
  }
  return it->second;
}

void check_version(const io::SafetensorsReader& file) {
  if (!is_checkpoint(file.header())) {
    fail_user(file.path() + ": holds tensors but is no checkpoint (no \"format\": \"" + kFormat +
              "\"): a run cannot go on from it; --init takes its weights for a new run");
  }
  const std::string& version = entry(file, "version");
  if (version == std::to_string(kCheckpointVersion)) return;
  fail_user(file.path() + ": checkpoint of version " + io::excerpt(version) +
            ", this program reads version " + std::to_string(kCheckpointVersion) +
            ": resume with the program that wrote it, or start anew with --init=" + file.path());
}

std::map<std::string, std::string> parse_run(const std::string& text, const std::string& name) {
  const nlohmann::json json = io::parse_json(text, name, 1);
  if (!json.is_object()) fail_user(name + ": is " + io::describe(json) + ", expected an object");
  std::map<std::string, std::string> run;
  for (const auto& [key, value] : json.items()) {
    if (!value.is_string()) {
      fail_user(name + ": \"" + io::excerpt(key) + "\" is " + io::describe(value) +
                ", expected a string");
    }
    run[key] = value.get<std::string>();
  }
  return run;
}

}  // namespace

void save_parameters(const Executable& exe, const std::string& path,
                     std::map<std::string, std::string> metadata) {
  write({&exe}, path, false, metadata);
}

Import load_parameters(Executable& exe, const std::string& path) {
  return load_parameters(std::vector<LoadedPlan*>{&exe}, path);
}

Import load_parameters(const std::vector<LoadedPlan*>& plans, const std::string& path) {
  Held<LoadedPlan> held(plans, false);
  io::SafetensorsReader file(path);
  // Weights of a base model have no LoRA, which then stays as it is.
  const auto& entries = file.header().tensors;
  if (std::none_of(entries.begin(), entries.end(), [](const auto& t) { return is_lora(t.name); }))
    std::erase_if(held.tensors, [](const WantedTensor& t) { return is_lora(t.name); });
  Import import{file.header().metadata, {}};
  const std::string ignored = is_checkpoint(file.header()) ? kStatePrefix : "";
  for (const TensorMatch& m : match_tensors(file, held.tensors, Conversion::floats, ignored)) {
    const std::string bytes =
        convert_floats(file.read(*m.source), m.source->type.dtype, m.target.type.dtype);
    if (m.source->type.dtype != m.target.type.dtype) {
      ++import.converted[std::string(name_of(m.source->type.dtype)) + " -> " +
                         std::string(name_of(m.target.type.dtype))];
    }
    held.owner.at(m.target.buffer)->write(m.target.buffer, bytes.data(), bytes.size());
  }
  return import;
}

CheckpointInfo read_checkpoint_info(const std::string& path) {
  io::SafetensorsReader file(path);
  check_version(file);
  const auto data = file.header().metadata.find("data");
  return {parse_config(entry(file, "model"), path + ": model"), entry(file, "tokenizer"),
          parse_train_state(entry(file, "state"), path + ": state"),
          parse_run(entry(file, "run"), path + ": run"),
          data == file.header().metadata.end() ? "" : data->second};
}

void save_checkpoint(const Executable& exe, const std::string& path, const CheckpointInfo& info) {
  save_checkpoint(std::vector<const LoadedPlan*>{&exe}, path, info);
}

void save_checkpoint(const std::vector<const LoadedPlan*>& plans, const std::string& path,
                     const CheckpointInfo& info) {
  std::map<std::string, std::string> metadata = {{"format", kFormat},
                                                 {"version", std::to_string(kCheckpointVersion)},
                                                 {"model", config_text(info.model)},
                                                 {"tokenizer", info.tokenizer},
                                                 {"state", train_state_text(info.state)},
                                                 {"run", nlohmann::json(info.run).dump()}};
  if (!info.data.empty()) metadata["data"] = info.data;
  write(plans, path, true, metadata);
}

void load_checkpoint(Executable& exe, const std::string& path) {
  load_checkpoint(std::vector<LoadedPlan*>{&exe}, path);
}

void load_checkpoint(const std::vector<LoadedPlan*>& plans, const std::string& path) {
  const Held<LoadedPlan> held(plans, true);
  io::SafetensorsReader file(path);
  check_version(file);
  for (const TensorMatch& m : match_tensors(file, held.tensors, Conversion::none, "")) {
    const std::string bytes = file.read(*m.source);
    held.owner.at(m.target.buffer)->write(m.target.buffer, bytes.data(), bytes.size());
  }
}

void refuse_changed_run(const std::string& path, const std::map<std::string, std::string>& recorded,
                        const std::map<std::string, std::string>& now) {
  std::string changes;
  auto change = [&](const std::string& flag, const std::string& old, const std::string& value) {
    changes += "\n  " + flag + ": " + old + " in the checkpoint, " + value + " now";
  };
  for (const auto& [flag, value] : now) {
    auto it = recorded.find(flag);
    if (it == recorded.end()) {
      change(flag, "not there", value);
    } else if (it->second != value) {
      change(flag, it->second, value);
    }
  }
  for (const auto& [flag, value] : recorded) {
    if (!now.count(flag)) change(flag, value, "not there");
  }
  if (changes.empty()) return;
  fail_user(path + ": the run cannot go on with other settings than it began with:" + changes +
            "\nGive the recorded values, or start a new run (--init takes the weights along).");
}

}  // namespace fusec::models
