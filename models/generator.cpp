// Prompts and tokens to runs of the cached decoder; see generator.h.
#include "fusec/models/generator.h"

#include <algorithm>
#include <numeric>

#include "fusec/base/nearest.h"
#include "fusec/io/safetensors.h"
#include "match_tensors.h"

namespace fusec::models {
namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

const PlanBuffer* find_parameter(const LoadedPlan& plan, const std::string& name) {
  for (const PlanBuffer& b : plan.plan().buffers)
    if (b.cls == BufferClass::parameter && b.name == name) return &b;
  return nullptr;
}

}  // namespace

Generator::Generator(GeneratorOptions options) : options_(std::move(options)) {
  const VisionGptConfig& c = options_.model;
  context_ = options_.context == 0 ? c.sequence : options_.context;
  if (context_ < 1 || context_ > c.sequence)
    fail_user("generator: context is " + std::to_string(options_.context) + ", expected 1 to " +
              std::to_string(c.sequence) + ", the tokens that the model has positions for (or 0)");
  if (options_.page_size < 1)
    fail_user("generator: page size is " + std::to_string(options_.page_size) +
              ", expected 1 or more");
  if (options_.compile.share && options_.weights != f32)
    fail_user(
        "generator: shared weights are f32; with weights of another type leave out "
        "compile.share and copy_weights() instead");
  model_ = {c,
            {.sequences = options_.sequences,
             .max_pages = ceil_div(context_, options_.page_size),
             .page_size = options_.page_size,
             .pages = options_.sequences * ceil_div(context_, options_.page_size),
             .type = options_.cache},
            options_.lora,
            options_.weights};
  RecordedGraph step = record_cached_step(model_);
  step_ = compile(*step.graph, step.outputs, options_.compile);
  options_.compile.dump_dir.clear();  // the folder holds the step
  CompileOptions shared = options_.compile;
  shared.share = &step_;
  RecordedGraph chunk = record_cached_chunk(model_, options_.chunk);
  chunk_ = compile(*chunk.graph, chunk.outputs, shared);
  lengths_.assign(options_.sequences, 0);

  // Each sequence has its own pages, side by side.
  std::vector<int32_t> table(model_.cache.pages);
  std::iota(table.begin(), table.end(), 0);
  step_.set("page_table", table);
  chunk_.set("page_table", table);
}

Executable& Generator::encoder() {
  if (options_.model.text_only())
    fail_user("generator: this model is of text alone and takes no images");
  if (!encoder_) {
    RecordedGraph recorded = record_encoder(options_.model, 1);
    CompileOptions shared = options_.compile;
    shared.share = &step_;
    encoder_ = compile(*recorded.graph, recorded.outputs, shared);
  }
  return *encoder_;
}

std::vector<Executable*> Generator::owners() {
  std::vector<Executable*> all = {&step_};
  if (!options_.model.text_only()) all.push_back(&encoder());
  return all;
}

std::vector<std::pair<std::string, TensorType>> Generator::parameters() {
  std::vector<std::pair<std::string, TensorType>> all;
  for (const Executable* exe : owners())
    for (const PlanBuffer& b : exe->plan().buffers)
      if (b.cls == BufferClass::parameter) all.emplace_back(b.name, b.type);
  return all;
}

void Generator::set_parameter(const std::string& name, const std::vector<float>& values) {
  std::vector<std::string> known;
  for (Executable* exe : owners()) {
    const PlanBuffer* found = find_parameter(*exe, name);
    if (!found) {
      for (const PlanBuffer& b : exe->plan().buffers)
        if (b.cls == BufferClass::parameter) known.push_back(b.name);
      continue;
    }
    if (static_cast<int64_t>(values.size()) != numel(found->type.shape))
      fail_user("generator: parameter " + name + " is " + found->type.str() + ", found " +
                std::to_string(values.size()) + " values");
    std::string bytes(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
    bytes = convert_floats(std::move(bytes), f32, found->type.dtype);
    exe->write(name, bytes.data(), bytes.size());
    return;
  }
  fail_user("generator: the model has no parameter \"" + name + "\"" + suggest(name, known));
}

Import Generator::load_weights(const std::string& path) {
  std::vector<LoadedPlan*> plans;
  for (Executable* exe : owners()) plans.push_back(exe);
  return load_parameters(plans, path);
}

Conversions Generator::load_weights(const ModelFile& file) {
  std::vector<LoadedPlan*> plans;
  for (Executable* exe : owners()) plans.push_back(exe);
  return load_model(plans, file);
}

void Generator::copy_weights(const std::vector<const LoadedPlan*>& from, const LoraConfig& lora) {
  for (const auto& [name, type] : parameters()) {
    const LoadedPlan* source = nullptr;
    for (const LoadedPlan* plan : from)
      if (!source && find_parameter(*plan, name)) source = plan;
    if (!source) fail_user("generator: no parameter \"" + name + "\" in the plans to copy from");
    set_parameter(name,
                  lora.rank > 0 ? merged_weight(*source, name, lora) : source->get<float>(name));
  }
}

std::vector<float> Generator::encode(const std::vector<float>& images) {
  Executable& exe = encoder();
  const size_t each = static_cast<size_t>(numel(exe.type("images").shape));
  if (images.size() % each != 0)
    fail_user("generator: expected images of " + std::to_string(each) + " values each, found " +
              std::to_string(images.size()) + " values");
  std::vector<float> rows;
  for (size_t at = 0; at < images.size(); at += each) {
    exe.set("images", std::span<const float>(images).subspan(at, each));
    exe.run();
    const std::vector<float> made = exe.get<float>("image_rows");
    rows.insert(rows.end(), made.begin(), made.end());
  }
  return rows;
}

void Generator::check_sequence(int64_t sequence) const {
  if (sequence < 0 || sequence >= options_.sequences)
    fail_user("generator: no sequence " + std::to_string(sequence) + "; it has " +
              std::to_string(options_.sequences));
}

void Generator::check_room(int64_t behind, int64_t more) const {
  if (behind + more <= context_) return;
  fail_user("generator: " + std::to_string(more) + " more tokens behind " + std::to_string(behind) +
            " do not fit into the context of " + std::to_string(context_));
}

void Generator::check_prompt(const Prompt& prompt, int64_t behind) const {
  const VisionGptConfig& c = options_.model;
  const auto size = static_cast<int64_t>(prompt.tokens.size());
  if (size == 0) fail_user("generator: the prompt is empty; expected one token or more");
  check_room(behind, size);
  for (int32_t token : prompt.tokens)
    if (token < 0 || token >= c.vocab)
      fail_user("generator: token " + std::to_string(token) + " in the prompt, expected 0 to " +
                std::to_string(c.vocab - 1));
  if (!prompt.slots.empty() && c.text_only())
    fail_user("generator: the prompt has image rows, and the model is of text alone");
  if (prompt.image_rows.size() != prompt.slots.size() * static_cast<size_t>(c.width))
    fail_user("generator: expected an image row of " + std::to_string(c.width) +
              " values for each of " + std::to_string(prompt.slots.size()) + " slots, found " +
              std::to_string(prompt.image_rows.size()) + " values");
  for (size_t i = 0; i < prompt.slots.size(); ++i)
    if (prompt.slots[i] < 0 || prompt.slots[i] >= size ||
        (i > 0 && prompt.slots[i] <= prompt.slots[i - 1]))
      fail_user("generator: slot " + std::to_string(prompt.slots[i]) +
                ", expected rising places in a prompt of " + std::to_string(size) + " tokens");
}

std::vector<float> Generator::start(const Prompt& prompt, int64_t sequence) {
  check_sequence(sequence);
  check_prompt(prompt, 0);
  lengths_[sequence] = 0;
  return append(prompt, sequence);
}

std::vector<float> Generator::append(const Prompt& prompt, int64_t sequence) {
  check_sequence(sequence);
  check_prompt(prompt, lengths_[sequence]);
  const auto chunk = static_cast<size_t>(options_.chunk);
  for (size_t begin = 0; begin < prompt.tokens.size(); begin += chunk)
    run_chunk(prompt, begin, std::min(prompt.tokens.size(), begin + chunk), sequence);
  const std::vector<float> logits = chunk_.get<float>("logits");
  const int64_t vocab = options_.model.vocab;
  const auto first = logits.begin() + sequence * vocab;
  return {first, first + vocab};
}

void Generator::run_chunk(const Prompt& prompt, size_t begin, size_t end, int64_t sequence) {
  const auto n = static_cast<size_t>(options_.chunk);
  const auto width = static_cast<size_t>(options_.model.width);
  const auto count = static_cast<int32_t>(end - begin);
  const auto before = static_cast<int32_t>(lengths_[sequence]);
  std::vector<int32_t> tokens(n, 0), positions(n, -1);
  for (size_t i = begin; i < end; ++i) {
    tokens[i - begin] = prompt.tokens[i];
    positions[i - begin] = before + static_cast<int32_t>(i - begin);
  }
  std::vector<int32_t> cu_q(options_.sequences + 1, 0), lengths(options_.sequences, 0);
  std::vector<int32_t> last(options_.sequences, -1);
  std::fill(cu_q.begin() + sequence + 1, cu_q.end(), count);
  lengths[sequence] = before + count;
  last[sequence] = count - 1;
  chunk_.set("tokens", tokens);
  chunk_.set("positions", positions);
  chunk_.set("sequences", std::vector<int32_t>(n, static_cast<int32_t>(sequence)));
  chunk_.set("cu_q", cu_q);
  chunk_.set("lengths", lengths);
  chunk_.set("last", last);
  if (!options_.model.text_only()) {
    std::vector<int32_t> slots(n, -1);
    std::vector<float> rows;
    size_t used = 0;
    for (size_t i = 0; i < prompt.slots.size(); ++i) {
      const auto at = static_cast<size_t>(prompt.slots[i]);
      if (at < begin || at >= end) continue;
      rows.resize(n * width, 0.0f);
      slots[used] = static_cast<int32_t>(at - begin);
      std::copy_n(prompt.image_rows.begin() + static_cast<std::ptrdiff_t>(i * width), width,
                  rows.begin() + static_cast<std::ptrdiff_t>(used++ * width));
    }
    chunk_.set("slots", slots);
    if (used == 0 && !images_set_) rows.resize(n * width, 0.0f);
    if (!rows.empty()) chunk_.set("image_rows", rows), images_set_ = true;
  }
  chunk_.run();
  lengths_[sequence] += count;
}

std::vector<float> Generator::step(int32_t token) {
  if (options_.sequences != 1)
    fail_user("generator: one token for " + std::to_string(options_.sequences) +
              " sequences; step() takes a list of them");
  return step(std::vector<int32_t>{token});
}

std::vector<float> Generator::step(const std::vector<int32_t>& tokens) {
  if (static_cast<int64_t>(tokens.size()) != options_.sequences)
    fail_user("generator: " + std::to_string(tokens.size()) + " tokens for " +
              std::to_string(options_.sequences) + " sequences; expected one each (-1: none)");
  const size_t n = tokens.size();
  std::vector<int32_t> ids(n, 0), positions(n, -1), lengths(n, 0);
  for (size_t i = 0; i < n; ++i) {
    if (tokens[i] == -1) continue;
    if (tokens[i] < 0 || tokens[i] >= options_.model.vocab)
      fail_user("generator: token " + std::to_string(tokens[i]) + ", expected 0 to " +
                std::to_string(options_.model.vocab - 1) + " (or -1: none)");
    check_room(lengths_[i], 1);
    ids[i] = tokens[i];
    positions[i] = static_cast<int32_t>(lengths_[i]);
    lengths[i] = positions[i] + 1;
  }
  step_.set("tokens", ids);
  step_.set("positions", positions);
  step_.set("lengths", lengths);
  step_.run();
  for (size_t i = 0; i < n; ++i) lengths_[i] += tokens[i] != -1;
  return step_.get<float>("logits");
}

void Generator::truncate(int64_t length, int64_t sequence) {
  check_sequence(sequence);
  if (length < 0 || length > lengths_[sequence])
    fail_user("generator: cannot cut " + std::to_string(lengths_[sequence]) + " tokens to " +
              std::to_string(length));
  lengths_[sequence] = length;
}

int64_t Generator::length(int64_t sequence) const {
  check_sequence(sequence);
  return lengths_[sequence];
}

}  // namespace fusec::models
