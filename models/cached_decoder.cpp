// A config to recorded graphs over a paged cache; see cached_decoder.h.
#include "fusec/models/cached_decoder.h"

#include "fusec/models/vision_gpt.h"

namespace fusec::models {
namespace {

void check_float(DType type, const char* what) {
  if (type == f32 || type == bf16 || type == f16) return;
  fail_user(std::string("cached decoder: ") + what + " cannot be " + std::string(name_of(type)) +
            "; expected f32, bf16 or f16");
}

void check_size(const char* name, int64_t value) {
  if (value > 0) return;
  fail_user(std::string("cached decoder: ") + name + " is " + std::to_string(value) +
            ", expected 1 or more");
}

// Records N new tokens; `chunk`: of any of the sequences, else one of each.
RecordedGraph record(const CachedModel& model, int64_t n, bool chunk) {
  const VisionGptConfig& c = model.config;
  const CacheShape& s = model.cache;
  c.check();
  check_size("tokens of a run", n);
  check_size("sequences", s.sequences);
  check_size("pages of a sequence", s.max_pages);
  check_size("page size", s.page_size);
  check_size("pages", s.pages);
  check_float(s.type, "the cache");
  check_float(model.weights, "weights");

  auto graph = std::make_unique<Graph>();
  Graph& g = *graph;
  CachedTokens now;
  now.tokens = g.input("tokens", {n}, i32);
  now.positions = g.input("positions", {n}, i32);
  now.page_table = g.input("page_table", {s.sequences, s.max_pages}, i32);
  now.lengths = g.input("lengths", {s.sequences}, i32);
  Tensor last;
  if (chunk) {
    now.sequences = g.input("sequences", {n}, i32);
    now.cu_q = g.input("cu_q", {s.sequences + 1}, i32);
    last = g.input("last", {s.sequences}, i32);
    if (!c.text_only()) {
      now.slots = g.input("slots", {n}, i32);
      now.image_rows = g.input("image_rows", {n, c.width});
    }
  }
  std::vector<PagedKv> pages;
  for (int64_t layer = 0; layer < c.layers; ++layer) {
    const std::string name = "cache." + std::to_string(layer);
    const Shape shape = {s.pages, s.page_size, c.kv_heads, c.head_dim};
    Tensor k = g.state(name + ".k", shape, s.type), v = g.state(name + ".v", shape, s.type);
    pages.push_back({k, v, {}, {}});
  }
  now.pages = pages;
  TextTrunk trunk(g, c, {.lora = model.lora, .weights = model.weights});
  Tensor hidden = trunk.hidden(now);
  for (size_t i = 0; i < pages.size(); ++i) {
    g.assign(pages[i].k, now.pages[i].k);
    g.assign(pages[i].v, now.pages[i].v);
  }
  Tensor logits = trunk.logits(chunk ? gather(hidden, last) : hidden);
  return {std::move(graph), {{"logits", logits}}};
}

}  // namespace

RecordedGraph record_cached_chunk(const CachedModel& model, int64_t chunk) {
  return record(model, chunk, true);
}

RecordedGraph record_cached_step(const CachedModel& model) {
  return record(model, model.cache.sequences, false);
}

}  // namespace fusec::models
