// Packs, accumulation and cached decoding on a GPU beside the CPU. Skipped without a GPU.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdio>

#include "chat_pipeline.h"
#include "fusec/models/generator.h"
#include "packed_documents.h"

namespace fusec::models {
namespace {

constexpr PackShape kShape{.tokens = 48, .max_documents = 6, .max_images = 5};
// f32 through some 40 layers on two devices: about a thousand roundings, relative to the largest.
constexpr double kBound = 1e-4;

bool no_gpu() {
  try {
    Graph g;
    Tensor x = g.input("x", {1});
    compile(g, {x + 1.0}, {.device = "cuda"});
    return false;
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::device) throw;
    std::printf("[SKIP] %s\n", e.what());
    return true;
  }
}

double gap(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double most = 1e-6, off = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    most = std::max<double>(most, std::abs(b[i]));
    off = std::max<double>(off, std::isnan(a[i]) ? INFINITY : std::abs(a[i] - b[i]));
  }
  return off / most;
}

std::vector<Document> documents(const VisionGptConfig& c) {
  return {made_up(c, 11, 1, 1), made_up(c, 7, 0, 2), made_up(c, 14, 3, 3), made_up(c, 1, 0, 4)};
}

std::vector<float> whole_logits(const VisionGptConfig& c, const std::vector<Document>& list,
                                const char* device) {
  RecordedGraph pack = record_packed_logits({c, kShape, {}});
  CompileOptions options = on_cpu();
  options.device = device;
  Executable exe = compile(*pack.graph, pack.outputs, options);
  fill_parameters(exe, c);
  feed_pack(exe, c, packed(c, kShape, list), false);
  exe.run();
  return exe.get<float>("logits");
}

TEST_CASE("a pack's logits on a GPU are those of the CPU") {
  if (no_gpu()) return;
  for (const VisionGptConfig& c : small_configs()) {
    CAPTURE(c.name);
    std::vector<float> got = whole_logits(c, documents(c), "cuda");
    std::vector<float> want = whole_logits(c, documents(c), "cpu");
    got.resize(33 * c.vocab), want.resize(33 * c.vocab);  // rows behind the documents mean nothing
    CHECK(gap(got, want) < kBound);
  }
}

TEST_CASE("moments of an update, of one batch and of two, on a GPU are those of the CPU") {
  if (no_gpu()) return;
  tests::Scratch scratch;
  tests::write_chats(scratch, "train", 0, 12);
  for (int64_t batches : {1, 2}) {
    CAPTURE(batches);
    std::vector<std::vector<float>> found[2];
    for (int d : {0, 1}) {
      const auto data = chat_pipeline(scratch, 1);
      PackedTrainer trainer(trainer_options(*data, batches, d ? "cuda" : "cpu"));
      CHECK_FALSE(trainer.step(*data, 0.01).skipped);
      const LoadedPlan* last = trainer.plans().back();
      for (const PlanBuffer& b : last->plan().buffers)
        if (b.cls == BufferClass::state && b.name.find(".k.bias") == std::string::npos)
          found[d].push_back(last->get<float>(b.name));
    }
    REQUIRE(found[0].size() == found[1].size());
    for (size_t i = 0; i < found[0].size(); ++i) CHECK(gap(found[1][i], found[0][i]) < 3 * kBound);
  }
}

TEST_CASE("cached decoding on a GPU gives the logits of the whole forward pass") {
  if (no_gpu()) return;
  for (const VisionGptConfig& c : small_configs())
    for (bool narrow : {false, true}) {
      CAPTURE(c.name);
      CAPTURE(narrow);
      Document d = made_up(c, 20, 2, 5);
      std::vector<float> want = whole_logits(c, {d}, "cpu");
      GeneratorOptions o;
      o.model = c, o.chunk = 8, o.page_size = 16;
      o.compile.device = "cuda";
      if (narrow) o.weights = o.cache = bf16, o.compile.precision = Precision::bf16;
      Generator g(o);
      for (const auto& [name, type] : g.parameters())
        g.set_parameter(name, test_value(name, type.shape, c));
      Prompt p{.tokens = {d.tokens.begin(), d.tokens.begin() + 11}, .slots = d.image_at};
      p.image_rows = g.encode(d.images);
      std::vector<float> now = g.start(p);
      for (size_t at = 10;; now = g.step(d.tokens[++at])) {
        CAPTURE(at);
        auto row = want.begin() + static_cast<std::ptrdiff_t>(at * c.vocab);
        // Rounded to 8 bits, some 20 values deep, each at most 2^-8 of the largest off.
        CHECK(gap(now, {row, row + c.vocab}) < (narrow ? 0.08 : kBound));
        if (at + 1 == d.tokens.size()) break;
      }
      CHECK(g.start(p) == g.start(p));
    }
}

}  // namespace
}  // namespace fusec::models
