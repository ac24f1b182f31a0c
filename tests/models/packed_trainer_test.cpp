// Training on packs: updates of one pack or several, what is skipped, saving and going on.
#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>

#include <unistd.h>

#include "fusec/models/packed_trainer.h"
#include "packed_documents.h"

namespace fusec::models {
namespace {

constexpr PackShape kShape{.tokens = 40, .max_documents = 4, .max_images = 4};

PackedTrainerOptions options_of(const VisionGptConfig& c) {
  return {.model = {c, kShape, {}}, .compile = on_cpu()};
}

PackInputs inputs(const HostPack& p) {
  return {p.tokens, p.positions, p.targets, p.cu_seqlens, p.slots, p.images};
}

// The n-th pack of a made-up stream.
HostPack pack_of(const VisionGptConfig& c, int64_t n) {
  return packed(c, kShape,
                {made_up(c, 12, 1, 100 + 3 * n), made_up(c, 9, 0, 101 + 3 * n),
                 made_up(c, 14, 2, 102 + 3 * n)});
}

std::string bits(PackedTrainer& trainer) {
  std::string all;
  for (const LoadedPlan* plan : trainer.plans())
    for (const PlanBuffer& b : plan->plan().buffers) {
      if (b.cls != BufferClass::parameter && b.cls != BufferClass::state) continue;
      std::string bytes(b.type.bytes(), '\0');
      plan->read(b.name, bytes.data(), bytes.size());
      all += bytes;
    }
  return all;
}

// Update number n, of `packs` packs.
PackedStep update(PackedTrainer& t, int64_t n, int64_t packs) {
  std::vector<HostPack> hold;
  std::vector<PackInputs> list;
  for (int64_t i = 0; i < packs; ++i)
    hold.push_back(pack_of(t.options().model.config, n * packs + i));
  for (const HostPack& p : hold) list.push_back(inputs(p));
  return t.step(list, 0.01);
}

struct TempFile {
  std::string path;
  explicit TempFile(const char* name)
      : path((std::filesystem::temp_directory_path() /
              (std::string("fusec_") + std::to_string(::getpid()) + name)).string()) {}
  ~TempFile() { std::filesystem::remove(path); }
};

TEST_CASE("a run that was saved and went on ends with the bytes of one that did not stop") {
  VisionGptConfig c = small_configs()[0];
  for (int64_t packs : {1, 2}) {
    CAPTURE(packs);
    PackedTrainer whole(options_of(c), packs), first(options_of(c), packs);
    for (int64_t n = 0; n < 4; ++n) update(whole, n, packs);
    for (int64_t n = 0; n < 2; ++n) update(first, n, packs);
    TempFile file("_packed.safetensors");
    TrainState state;
    state.step = first.steps();
    state.cursor_count = 1;
    first.save(file.path, {c, "0123456789abcdef", state, {}});
    CHECK(bits(first) != bits(whole));
    PackedTrainerOptions other = options_of(c);
    other.seed = 5;  // other first weights
    PackedTrainer second(other, packs);
    second.load(file.path, read_checkpoint_info(file.path).state.step);
    for (int64_t n = 2; n < 4; ++n) update(second, n, packs);
    CHECK(bits(second) == bits(whole));
    CHECK(second.steps() == 4);
    // The sums of gradients are not kept: a run with another number of packs can go on.
    PackedTrainer third(options_of(c), 3 - packs);
    third.load(file.path, 2);
    CHECK(update(third, 2, 3 - packs).supervised > 0);
  }
}

TEST_CASE("training learns its packs, whichever way they come") {
  VisionGptConfig c = small_configs()[1];
  PackedTrainer t(options_of(c), 2);
  HostPack a = pack_of(c, 0), b = pack_of(c, 1);
  const std::vector<PackInputs> both = {inputs(a), inputs(b)};
  PackedStep start = t.evaluate(inputs(a));
  CHECK(start.loss() == doctest::Approx(std::log(c.vocab)).epsilon(0.5));
  for (int i = 0; i < 30; ++i) {
    CHECK_FALSE(t.step(both, 0.02).skipped);
    t.step({&both[0], 1}, 0.02);
  }
  CHECK(t.steps() == 60);
  CHECK(t.evaluate(inputs(a)).loss() < 0.5 * start.loss());
  CHECK(t.evaluate(inputs(a)).supervised == start.supervised);
  CHECK(t.trained_parameters() > 0);
  CHECK(t.modules().back().module == "trunk");
}

TEST_CASE("packs without supervision are no update; what is not finite is skipped and mended") {
  VisionGptConfig c = small_configs()[0];
  for (int64_t packs : {1, 2}) {
    CAPTURE(packs);
    PackedTrainer t(options_of(c), packs), calm(options_of(c), packs);
    update(t, 0, packs);
    update(calm, 0, packs);
    std::string before = bits(t);
    HostPack silent = pack_of(c, 7), wild = pack_of(c, 8);
    std::fill(silent.targets.begin(), silent.targets.end(), -1);
    std::vector<PackInputs> list(packs, inputs(silent));
    PackedStep none = t.step(list, 0.01);
    CHECK(none.supervised == 0);
    CHECK(none.loss() == 0);
    CHECK_FALSE(none.skipped);
    CHECK(t.steps() == 1);
    wild.images[5] = NAN;
    list.back() = inputs(wild);
    PackedStep bad = t.step(list, 0.01);
    CHECK(bad.skipped);
    CHECK_FALSE(bad.culprit.empty());
    CHECK(t.skipped() == 1);
    CHECK(bits(t) == before);
    update(t, 1, packs);
    update(calm, 1, packs);
    CHECK(bits(t) == bits(calm));
    if (packs == 2) {  // a silent pack beside one that is not
      HostPack some = pack_of(c, 9);
      list = {inputs(silent), inputs(some)};
      CHECK(t.step(list, 0.01).supervised > 0);
    }
  }
}

TEST_CASE("LoRA begins from weights that have none") {
  VisionGptConfig c = small_configs()[2];
  PackedTrainer base(options_of(c), 1);
  update(base, 0, 1);
  TempFile file("_base.safetensors");
  save_parameters(base.training(), file.path);
  PackedTrainerOptions o = options_of(c);
  o.seed = 9, o.train = "lora", o.model.lora = {.rank = 2};
  PackedTrainer tuned(o, 1);
  load_parameters(tuned.plans(), file.path);
  HostPack p = pack_of(c, 3);
  CHECK(tuned.evaluate(inputs(p)).loss_sum == base.evaluate(inputs(p)).loss_sum);
  CHECK_FALSE(update(tuned, 1, 1).skipped);
  CHECK(tuned.evaluate(inputs(p)).loss_sum != base.evaluate(inputs(p)).loss_sum);
  CHECK(tuned.training().get<float>("head.weight") == base.training().get<float>("head.weight"));
  // Its own file has LoRA and is read whole.
  save_parameters(tuned.training(), file.path);
  PackedTrainer again(o, 1);
  load_parameters(again.plans(), file.path);
  CHECK(again.evaluate(inputs(p)).loss_sum == tuned.evaluate(inputs(p)).loss_sum);
  CHECK_THROWS_WITH_AS(load_parameters(base.training(), file.path), doctest::Contains("lora_a"),
                       Error);
}

TEST_CASE("what a trainer refuses") {
  VisionGptConfig c = small_configs()[0];
  CHECK_THROWS_WITH_AS(PackedTrainer(options_of(c), 0), doctest::Contains("0 packs"), Error);
  PackedTrainer t(options_of(c), 1);
  CHECK_THROWS_WITH_AS(t.step({}, 0.1), doctest::Contains("found none"), Error);
  const std::vector<int32_t> three(3, 1);
  const std::vector<PackInputs> wrong = {{.targets = three}};
  CHECK_THROWS_WITH_AS(t.step(wrong, 0.1), doctest::Contains("tokens"), Error);
}

}  // namespace
}  // namespace fusec::models
