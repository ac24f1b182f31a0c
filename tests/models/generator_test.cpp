// Decoding over the cache gives the logits of the whole text's forward pass at every token.
#include <doctest/doctest.h>

#include <cmath>

#include "fusec/models/generator.h"
#include "packed_documents.h"

namespace fusec::models {
namespace {

// The whole document at once, without a cache: logits [L, V].
struct Whole {
  Executable exe;
  VisionGptConfig config;
  PackShape shape;
  explicit Whole(const VisionGptConfig& c, const LoadedPlan* share = nullptr,
                 const LoraConfig& lora = {})
      : config(c), shape{.tokens = 30, .max_documents = 1, .max_images = c.text_only() ? 0 : 3} {
    RecordedGraph recorded = record_packed_logits({c, shape, lora});
    exe = compile(*recorded.graph, recorded.outputs, on_cpu(share));
    if (!share) fill_parameters(exe, c);
  }
  std::vector<float> logits(const Document& d) {
    feed_pack(exe, config, packed(config, shape, {d}), false);
    exe.run();
    return exe.get<float>("logits");
  }
};

// Both sides are f32 through some 40 layers of arithmetic and differ in the order of attention's
// sums and in the kernels of their products: about a hundred roundings.
constexpr double kBound = 1e-5;

void check_row(const std::vector<float>& got, size_t row, const std::vector<float>& all, size_t at,
               int64_t vocab, double bound = kBound) {
  double gap = 0, most = 1e-6;
  for (int64_t i = 0; i < vocab; ++i) {
    gap = std::max<double>(gap, std::abs(got[row * vocab + i] - all[at * vocab + i]));
    most = std::max<double>(most, std::abs(all[at * vocab + i]));
  }
  CAPTURE(at);
  CHECK(gap <= bound * most);
}

GeneratorOptions options_of(const VisionGptConfig& c) {
  GeneratorOptions o;
  o.model = c;
  o.compile = on_cpu();
  o.chunk = 8;
  o.page_size = 4;
  return o;
}

void fill_parameters(Generator& g, const VisionGptConfig& c) {
  for (const auto& [name, type] : g.parameters())
    g.set_parameter(name, test_value(name, type.shape, c));
}

Prompt prompt_of(const Document& d, size_t length, Generator& g) {
  Prompt p;
  p.tokens.assign(d.tokens.begin(), d.tokens.begin() + length);
  p.slots = d.image_at;
  if (!d.images.empty()) p.image_rows = g.encode(d.images);
  return p;
}

TEST_CASE("cached decoding equals the whole forward pass at every token") {
  std::vector<VisionGptConfig> configs = small_configs();
  configs.push_back(configs[2]);  // more groups of heads, text alone
  configs.back().heads = 6, configs.back().kv_heads = 2, configs.back().resampler.queries = 0;
  for (const VisionGptConfig& c : configs) {
    CAPTURE(c.name);
    Whole whole(c);
    Document d = made_up(c, 29, c.text_only() ? 0 : 3, 5);
    std::vector<float> expected = whole.logits(d);
    struct Case {
      int64_t chunk, page_size;
      size_t prompt;
    };
    for (auto [chunk, page_size, prompt] :
         {Case{8, 4, 13}, Case{1, 1, 10}, Case{64, 16, 9}, Case{5, 3, 29}}) {
      CAPTURE(chunk);
      GeneratorOptions o = options_of(c);
      o.chunk = chunk, o.page_size = page_size;
      Generator g(o);
      fill_parameters(g, c);
      check_row(g.start(prompt_of(d, prompt, g)), 0, expected, prompt - 1, c.vocab);
      for (size_t at = prompt; at < d.tokens.size(); ++at)
        check_row(g.step(d.tokens[at]), 0, expected, at, c.vocab);
      CHECK(g.length() == 29);
      // Equal inputs give equal bits, in a sequence that held others before.
      std::vector<float> once = g.start(prompt_of(d, prompt, g));
      CHECK(g.start(prompt_of(d, prompt, g)) == once);
    }
  }
}

TEST_CASE("prompts go behind what is there, and what was cut off is forgotten") {
  VisionGptConfig c = small_configs()[1];
  Whole whole(c);
  Document d = made_up(c, 29, 2, 6);
  std::vector<float> expected = whole.logits(d);
  Generator g(options_of(c));
  fill_parameters(g, c);
  g.start(prompt_of(d, 9, g));
  for (int round = 0; round < 2; ++round) {
    g.step(d.tokens[9]);
    Prompt turn;
    turn.tokens.assign(d.tokens.begin() + 10, d.tokens.begin() + 25);
    check_row(g.append(turn), 0, expected, 24, c.vocab);
    check_row(g.step(d.tokens[25]), 0, expected, 25, c.vocab);
    g.step((d.tokens[26] + 1) % c.vocab);  // another word, taken back
    g.truncate(26);
    check_row(g.step(d.tokens[26]), 0, expected, 26, c.vocab);
    g.truncate(9);
  }
}

TEST_CASE("sequences go on side by side, each as it would alone") {
  VisionGptConfig c = small_configs()[0];
  Whole whole(c);
  std::vector<Document> list = {made_up(c, 20, 1, 7), made_up(c, 14, 0, 8), made_up(c, 24, 2, 9)};
  GeneratorOptions o = options_of(c);
  o.sequences = 3;
  Generator g(o);
  fill_parameters(g, c);
  std::vector<std::vector<float>> expected;
  const size_t starts[] = {5, 3, 11};
  for (size_t s : {2, 0, 1}) g.start(prompt_of(list[s], starts[s], g), s);
  for (const Document& d : list) expected.push_back(whole.logits(d));
  for (size_t t = 0; t < 13; ++t) {
    std::vector<int32_t> tokens;
    for (size_t s = 0; s < 3; ++s) {
      size_t at = starts[s] + t;
      tokens.push_back(at < list[s].tokens.size() ? list[s].tokens[at] : -1);
    }
    std::vector<float> logits = g.step(tokens);
    for (size_t s = 0; s < 3; ++s)
      if (tokens[s] >= 0) check_row(logits, s, expected[s], starts[s] + t, c.vocab);
  }
  CHECK(g.length(1) == 14);
}

// Weights that are bf16 numbers are the same model however they are held.
TEST_CASE("weights held in 16 bits are widened, not rounded again") {
  for (DType held : {bf16, f16}) {
    CAPTURE(name_of(held));
    VisionGptConfig c = small_configs()[1];
    Document d = made_up(c, 16, 1, 10);
    auto rounded = [&](const std::string& name, const Shape& shape) {
      std::vector<float> values = test_value(name, shape, c);
      if (shape.size() < 2) return values;
      for (float& x : values)
        x = held == bf16 ? float_from_bf16(bf16_from_float(x)) : float_from_f16(f16_from_float(x));
      return values;
    };
    Whole whole(c);
    for (const PlanBuffer& b : whole.exe.plan().buffers)
      if (b.cls == BufferClass::parameter && b.name.find("vision") == std::string::npos &&
          b.name.find("resampler") == std::string::npos &&
          b.name.find("projector") == std::string::npos)
        whole.exe.set(b.name, rounded(b.name, b.type.shape));
    std::vector<float> expected = whole.logits(d);
    GeneratorOptions o = options_of(c);
    o.weights = held;
    Generator g(o);
    fill_parameters(g, c);
    for (const auto& [name, type] : g.parameters()) {
      const bool text = name.starts_with("trunk") || name.starts_with("embedding");
      CHECK((type.dtype == held) == (type.shape.size() == 2 && text));
    }
    check_row(g.start(prompt_of(d, 7, g)), 0, expected, 6, c.vocab);
    for (size_t at = 7; at < d.tokens.size(); ++at)
      check_row(g.step(d.tokens[at]), 0, expected, at, c.vocab);
  }
}

// Keys, values and queries are rounded to 8 bits of precision: scores are off by 2^-8 of their
// size, which is below 4 here, so weights by 2^-6, and the mix by that and 2^-9 of the values; two
// layers and the norms between them make it at most some 5% of the largest logit.
TEST_CASE("a cache of 16 bits") {
  VisionGptConfig c = small_configs()[0];
  Document d = made_up(c, 20, 1, 11);
  std::vector<float> expected = Whole(c).logits(d);
  for (DType held : {bf16, f16}) {
    GeneratorOptions o = options_of(c);
    o.cache = held;
    Generator g(o);
    fill_parameters(g, c);
    CHECK(g.stepping().type("cache.0.k").dtype == held);
    double bound = held == bf16 ? 0.05 : 0.05 / 8;
    check_row(g.start(prompt_of(d, 7, g)), 0, expected, 6, c.vocab, bound);
    for (size_t at = 7; at < d.tokens.size(); ++at)
      check_row(g.step(d.tokens[at]), 0, expected, at, c.vocab, bound);
  }
}

TEST_CASE("shared weights are those of the training step as it is, and copies are of their time") {
  VisionGptConfig c = small_configs()[0];
  PackShape shape{.tokens = 30, .max_documents = 2, .max_images = 3};
  LoraConfig lora{.rank = 2, .alpha = 8};
  RecordedGraph step = record_packed_training_step({c, shape, lora}, "lora,projector", {});
  Executable training = compile(*step.graph, step.outputs, on_cpu());
  fill_parameters(training, c);
  GeneratorOptions o = options_of(c);
  o.lora = lora;
  o.compile.share = &training;
  Generator sharing(o);
  o.lora = {}, o.compile.share = nullptr;
  Generator copy(o);
  copy.copy_weights({&training}, lora);
  Document d = made_up(c, 18, 2, 12);
  Whole whole(c, &training, lora);
  std::vector<float> before = whole.logits(d);
  check_row(sharing.start(prompt_of(d, 18, sharing)), 0, before, 17, c.vocab);
  check_row(copy.start(prompt_of(d, 18, copy)), 0, before, 17, c.vocab);
  feed_pack(training, c, packed(c, shape, {d}));
  set_adamw_inputs(training, {}, 0.05, 1);
  CHECK(training.run().finite);
  std::vector<float> after = whole.logits(d);
  CHECK(after != before);
  check_row(sharing.start(prompt_of(d, 18, sharing)), 0, after, 17, c.vocab);
  check_row(copy.start(prompt_of(d, 18, copy)), 0, before, 17, c.vocab);
  CHECK_THROWS_WITH_AS(copy.copy_weights({&sharing.stepping()}, lora),
                       doctest::Contains("no parameter \"vision.patch.weight\""), Error);
}

TEST_CASE("what a generator refuses") {
  VisionGptConfig c = small_configs()[0];
  GeneratorOptions o = options_of(c);
  o.context = 12;
  Generator g(o);
  fill_parameters(g, c);
  auto refused = [&](const Prompt& p, const char* what) {
    CHECK_THROWS_WITH_AS(g.append(p), doctest::Contains(what), Error);
  };
  refused({}, "empty");
  refused({.tokens = {1, 40}}, "token 40 in the prompt, expected 0 to 39");
  refused({.tokens = {1, 2}, .slots = {0}}, "image row of 8 values for each of 1 slots, found 0");
  refused({.tokens = {1, 2}, .slots = {2}, .image_rows = std::vector<float>(8)}, "slot 2");
  refused({.tokens = {1, 2, 3}, .slots = {1, 1}, .image_rows = std::vector<float>(16)}, "rising");
  refused({.tokens = std::vector<int32_t>(13, 1)}, "do not fit into the context of 12");
  CHECK(g.length() == 0);
  g.start({.tokens = std::vector<int32_t>(12, 1)});
  CHECK_THROWS_WITH_AS(g.step(1), doctest::Contains("1 more tokens behind 12"), Error);
  CHECK_THROWS_WITH_AS(g.truncate(13), doctest::Contains("cannot cut 12"), Error);
  CHECK_THROWS_WITH_AS(g.append({.tokens = {1}}, 1), doctest::Contains("no sequence 1"), Error);
  CHECK_THROWS_WITH_AS(g.step(std::vector<int32_t>{1, 2}), doctest::Contains("2 tokens for 1"),
                       Error);
  CHECK_THROWS_WITH_AS(g.set_parameter("head.wieght", {}), doctest::Contains("head.weight"), Error);
  CHECK_THROWS_WITH_AS(g.set_parameter("head.weight", {1}), doctest::Contains("found 1 values"),
                       Error);
  o.context = 33;
  CHECK_THROWS_WITH_AS(Generator{o}, doctest::Contains("expected 1 to 32"), Error);
  o.context = 0, o.cache = i32;
  CHECK_THROWS_WITH_AS(Generator{o}, doctest::Contains("expected f32, bf16 or f16"), Error);
  o.cache = f32, o.chunk = 0;
  CHECK_THROWS_WITH_AS(Generator{o}, doctest::Contains("tokens of a run is 0"), Error);
  o.chunk = 4, o.weights = bf16, o.compile.share = &g.stepping();
  CHECK_THROWS_WITH_AS(Generator{o}, doctest::Contains("shared weights are f32"), Error);
  o = options_of(c);
  o.model.resampler.queries = 0;
  Generator text(o);
  CHECK_THROWS_WITH_AS(text.encode({}), doctest::Contains("text alone"), Error);
}

}  // namespace
}  // namespace fusec::models
