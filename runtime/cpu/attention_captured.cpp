// Gradients of attention's sinks and of the tensors that its hook captured. The latter are sums of
// dS * d score / d element over all scores that read the element: a pass of its own over the tiles,
// into doubles. Where every head has elements of its own and they are many, heads are summed side
// by side in one copy; else fixed parts of the work sum into copies, which are added in order. Both
// are chosen from sizes alone, so the bits do not depend on the threads.
#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "attention_grad.h"
#include "memory.h"

namespace fusec::cpu {
namespace {

constexpr int64_t kMostCopies = 16, kCopiedElements = int64_t{1} << 20;

struct Division {
  bool by_head;
  int64_t total, parts;  // elements of one copy; tasks
  int64_t copies() const { return by_head ? 1 : parts; }
};

// Whether no element is read by two heads.
bool heads_are_apart(const Attention& a, const std::vector<AttentionHook::Load>& loads,
                     size_t captured) {
  int64_t low = INT64_MAX, high = INT64_MIN, head = 0;
  const int64_t sizes[4] = {a.b, a.h, a.t, a.s};
  for (const AttentionHook::Load& l : loads) {
    if (!l.wanted || l.captured != captured) continue;
    if (head != 0 && l.step[1] != head) return false;
    head = l.step[1];
    int64_t first = l.offset, last = l.offset;
    for (int axis : {0, 2, 3}) {
      int64_t reach = l.step[axis] * std::max<int64_t>(0, sizes[axis] - 1);
      (reach < 0 ? first : last) += reach;
    }
    low = std::min(low, first), high = std::max(high, last);
  }
  return head == 0 ? low > high : high - low < std::abs(head);
}

Division divide(const Attention& a, const std::vector<AttentionHook::Load>& loads,
               const std::vector<CapturedGradient>& wanted) {
  Division p{true, 0, a.h};
  for (const CapturedGradient& w : wanted) {
    p.total += w.size;
    p.by_head = p.by_head && heads_are_apart(a, loads, w.captured);
  }
  int64_t copies = std::clamp<int64_t>(kCopiedElements / std::max<int64_t>(1, p.total), 1,
                                       kMostCopies);
  if (copies < kMostCopies && p.by_head) return p;
  p.by_head = false, p.parts = copies;
  return p;
}

// Adds one tile's part of a load's gradient; `by`: the tile of its derivatives.
void add_tile(const AttentionHook::Load& l, const QuerySide& side, int64_t key, int64_t keys,
              const float* d_score, const float* by, double* sums) {
  const Document& doc = *side.tile.document;
  int64_t size = sizeof(float), across = l.step[2] / size, down = l.step[3] / size;
  double* at = sums + (l.offset + l.step[0] * side.item + l.step[1] * side.head +
                       l.step[2] * (doc.first_query + side.tile.first) +
                       l.step[3] * (doc.first_key + key)) / size;
  for (int64_t j = 0; j < keys; ++j)
    for (int64_t i = 0; i < side.tile.count; ++i) {
      double ds = d_score[j * side.ld + i];
      if (ds != 0) at[j * down + i * across] += ds * by[j * side.ld + i];
    }
}

}  // namespace

void sink_gradients(const Attention& a, const GradTensors& x, float* d_sinks) {
  for (int64_t head = 0; head < a.h; ++head) {
    double sum = 0;
    for (int64_t item = 0; item < a.b; ++item)
      for (int64_t i = 0; i < a.t; ++i) {
        int64_t row = (item * a.h + head) * a.t + i;
        double share = std::exp(static_cast<double>(a.sinks[head]) - x.lse[row]);
        if (share != 0 && x.lse[row] > -INFINITY) sum -= share * x.delta[row];
      }
    d_sinks[head] = static_cast<float>(sum);
  }
}

int64_t captured_sums(const Attention& a, const std::vector<AttentionHook::Load>& loads,
                      const std::vector<CapturedGradient>& wanted) {
  if (wanted.empty()) return 0;
  Division p = divide(a, loads, wanted);
  return p.copies() * p.total;
}

void captured_gradients(const Attention& a, const GradTensors& x,
                        const std::vector<CapturedGradient>& wanted, double* sums,
                        ThreadPool& pool) {
  const VectorKernels& v = vector_kernels();
  const std::vector<AttentionHook::Load>& loads = x.hook.loads();
  Division plan = divide(a, loads, wanted);
  std::fill_n(sums, plan.copies() * plan.total, 0.0);
  std::vector<int64_t> first(1, 0);  // of each wanted tensor in a copy
  for (const CapturedGradient& w : wanted) first.push_back(first.back() + w.size);

  std::vector<Document> documents = find_documents(a);
  std::vector<QueryTile> tiles = query_tiles(a, documents);
  auto count = static_cast<int64_t>(tiles.size()), tile_size = a.block * a.hook_lanes;
  auto wanted_loads = static_cast<int64_t>(x.hook.wanted());
  Carver measure{nullptr};
  GradScratch layout(measure, a, a.block, wanted_loads);

  auto unit = [&](int64_t item, int64_t head, const QueryTile& tile, double* copy,
                  const GradScratch& w) {
    const Document& doc = *tile.document;
    int64_t end = doc.visible_keys(a, item, tile.first, tile.count), kv_head = head / a.group();
    if (end == 0) return;
    QuerySide side = load_queries(v, a, x, item, head, tile, false, w);
    for (int64_t key = 0; key < end; key += a.block) {
      int64_t keys = std::min(a.block, end - key);
      if (!doc.sees(a, item, tile.first, tile.count, key, keys)) continue;
      Rows k = x.k.rows(v, a, item, doc.first_key + key, kv_head, keys, w.key_rows);
      Rows val = x.v.rows(v, a, item, doc.first_key + key, kv_head, keys, w.value_rows);
      if (!score_gradients(v, a, x, side, key, keys, k, val, w)) continue;
      const float* by = w.by_load;
      for (const AttentionHook::Load& l : loads) {
        if (!l.wanted) continue;
        size_t which = 0;
        while (wanted[which].captured != l.captured) ++which;
        add_tile(l, side, key, keys, w.dp, by, copy + first[which]);
        by += tile_size;
      }
    }
  };
  int64_t units = a.b * a.h * count;
  pool.parallel(plan.parts, 1, [&](int64_t lo, int64_t hi) {
    Carver carver{thread_scratch(measure.used)};
    GradScratch w(carver, a, a.block, wanted_loads);
    for (int64_t part = lo; part < hi; ++part) {
      if (plan.by_head) {
        for (int64_t item = 0; item < a.b; ++item)
          for (const QueryTile& tile : tiles) unit(item, part, tile, sums, w);
        continue;
      }
      for (int64_t u = units * part / plan.parts; u < units * (part + 1) / plan.parts; ++u)
        unit(u / count / a.h, u / count % a.h, tiles[u % count], sums + part * plan.total, w);
    }
  });
  for (size_t i = 0; i < wanted.size(); ++i)
    for (int64_t e = 0; e < wanted[i].size; ++e) {
      double total = 0;
      for (int64_t c = 0; c < plan.copies(); ++c) total += sums[c * plan.total + first[i] + e];
      wanted[i].out[e] = static_cast<float>(total);
    }
}

}  // namespace fusec::cpu
