// Packs hold what went in: nothing over capacity, nothing lost, spans whole, the same again after a
// restored state.
#include "fusec/data/packer.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <random>

#include "scratch.h"

namespace fusec::data {
namespace {

using tests::contains;
using tests::user_error;

PackDocument document(uint64_t id, int64_t tokens, std::vector<PackSpan> spans = {}) {
  return {id, tokens, std::move(spans), std::make_shared<const uint64_t>(id)};
}

// All packs of a stream; `between` is called before every step, with the packer.
std::vector<Pack> pack_all(const PackerOptions& options, const std::vector<PackDocument>& stream,
                           PackStatistics* statistics = nullptr,
                           const std::function<void(Packer&)>& between = {}) {
  Packer packer(options);
  std::vector<Pack> packs;
  size_t fed = 0;
  for (;;) {
    if (between) between(packer);
    if (packer.wants_documents() && fed < stream.size()) {
      packer.add(stream[fed++]);
      continue;
    }
    if (fed == stream.size()) packer.finish();
    std::optional<Pack> pack = packer.next();
    if (!pack) break;
    packs.push_back(std::move(*pack));
    REQUIRE(packs.size() <= 100 * stream.size() + 1);
  }
  CHECK(fed == stream.size());
  CHECK(packer.waiting_tokens() == 0);
  CHECK(packer.waiting_documents() == 0);
  if (statistics) *statistics = packer.statistics();
  return packs;
}

// What identifies a pack, for comparisons.
std::vector<std::array<int64_t, 5>> outline(const std::vector<Pack>& packs) {
  std::vector<std::array<int64_t, 5>> out;
  for (size_t i = 0; i < packs.size(); ++i)
    for (const PackPiece& piece : packs[i].pieces)
      out.push_back({static_cast<int64_t>(i), static_cast<int64_t>(piece.id), piece.begin,
                     piece.tokens, piece.at});
  return out;
}

std::vector<PackDocument> log_normal(int count, double median, double sigma, uint64_t seed,
                                     int64_t most) {
  std::mt19937_64 engine(seed);
  std::normal_distribution<double> normal;
  std::vector<PackDocument> stream;
  for (int i = 0; i < count; ++i) {
    const double length = std::exp(std::log(median) + sigma * normal(engine));
    stream.push_back(document(static_cast<uint64_t>(i),
                              std::clamp<int64_t>(static_cast<int64_t>(length), 1, most)));
  }
  return stream;
}

// Everything that must hold of the packs of a stream, whatever the options.
void check_packs(const PackerOptions& o, const std::vector<PackDocument>& stream,
                 const std::vector<Pack>& packs, const PackStatistics& s) {
  std::map<uint64_t, std::vector<const PackPiece*>> pieces;
  int64_t tokens = 0;
  for (const Pack& pack : packs) {
    REQUIRE(!pack.pieces.empty());
    REQUIRE(static_cast<int64_t>(pack.pieces.size()) <= o.max_documents);
    CHECK(pack.rows * pack.width <= o.capacity);
    CHECK(static_cast<int64_t>(pack.cu_seqlens.size()) == o.max_documents + 1);
    CHECK(std::is_sorted(pack.cu_seqlens.begin(), pack.cu_seqlens.end()));
    CHECK(pack.cu_seqlens.front() == 0);
    CHECK(pack.cu_seqlens.back() <= o.capacity);
    int64_t end = 0, sum = 0, spans = 0;
    for (size_t i = 0; i < pack.pieces.size(); ++i) {
      const PackPiece& piece = pack.pieces[i];
      CHECK(piece.tokens >= 1);
      CHECK(piece.at >= end);
      CHECK(pack.cu_seqlens[i] == piece.at);
      if (o.policy == PackPolicy::best_fit) CHECK(piece.at == end);
      if (o.policy != PackPolicy::best_fit) CHECK(piece.tokens <= pack.width);
      end = piece.at + piece.tokens;
      CHECK(pack.cu_seqlens[i + 1] >= end);
      sum += piece.tokens;
      spans += static_cast<int64_t>(piece.spans.size());
      pieces[piece.id].push_back(&piece);
      CHECK(*static_cast<const uint64_t*>(piece.payload.get()) == piece.id);
    }
    CHECK(pack.tokens == sum);
    if (o.policy != PackPolicy::by_length) CHECK(pack.cu_seqlens.back() == end);
    if (o.max_spans > 0) CHECK(spans <= o.max_spans);
    tokens += sum;
  }
  CHECK(s.tokens_out == tokens);
  CHECK(s.tokens_in == s.tokens_out + s.tokens_dropped());
  CHECK(s.documents_in == static_cast<int64_t>(stream.size()));
  CHECK(s.documents_in == s.documents_out + s.documents_dropped());
  CHECK(s.packs == static_cast<int64_t>(packs.size()));

  int64_t lost = 0;
  for (const PackDocument& d : stream) {
    auto found = pieces.find(d.id);
    if (found == pieces.end()) {
      ++lost;
      continue;
    }
    std::vector<const PackPiece*>& parts = found->second;
    std::sort(parts.begin(), parts.end(),
              [](const PackPiece* a, const PackPiece* b) { return a->begin < b->begin; });
    int64_t begin = 0;
    std::vector<PackSpan> spans;
    for (const PackPiece* part : parts) {
      CHECK(part->begin == begin);
      CHECK(part->first_span == static_cast<int64_t>(spans.size()));
      CHECK(part->last == (part == parts.back()));
      for (PackSpan span : part->spans) {
        CHECK(span.begin + span.length <= part->tokens);  // whole
        spans.push_back({span.begin + begin, span.length});
      }
      begin += part->tokens;
    }
    CHECK(begin == d.tokens);
    CHECK(spans == d.spans);
  }
  CHECK(lost == s.documents_dropped());
}

// The state as other words, as if it had been written and read: payloads are gone.
PackerState without_payloads(PackerState state) {
  for (PackPiece& piece : state.waiting) piece.payload = nullptr;
  return state;
}

TEST_CASE("a small stream packs as by hand") {
  PackerOptions o{.capacity = 10, .max_documents = 4, .buffer_documents = 5};
  PackStatistics s;
  std::vector<Pack> packs = pack_all(
      o, {document(1, 6), document(2, 3), document(3, 4), document(4, 5), document(5, 2)}, &s);
  // 6 waits longest; 4 leaves nothing. Then the longest left: 5, with 3 and 2.
  REQUIRE(packs.size() == 2);
  CHECK(outline(packs) ==
        std::vector<std::array<int64_t, 5>>{
            {0, 1, 0, 6, 0}, {0, 3, 0, 4, 6}, {1, 4, 0, 5, 0}, {1, 2, 0, 3, 5}, {1, 5, 0, 2, 8}});
  CHECK(packs[0].cu_seqlens == std::vector<int32_t>{0, 6, 10, 10, 10});
  CHECK(packs[1].cu_seqlens == std::vector<int32_t>{0, 5, 8, 10, 10});
  CHECK(s.waste() == 0);
  CHECK(s.compression() == 2.5);
  CHECK(s.waste_padded_to_capacity() == doctest::Approx(0.6));
  CHECK(s.waste_padded_to_longest() == doctest::Approx(1 - 20.0 / 30.0));
  CHECK(s.text() ==
        "5 sequences -> 2 packs of 10 tokens (2.50 a pack); padding 60.00% (rows of 10; 33.33% "
        "padded to the longest, 6) -> 0.00%");
}

TEST_CASE("of two fits the one that leaves less space behind it wins") {
  // Behind 3, greedy would take 6 and leave 1; 5 + 2 leaves none. The 10 keeps the stream open.
  PackerOptions o{.capacity = 10, .max_documents = 8, .buffer_documents = 4};
  std::vector<Pack> packs = pack_all(
      o, {document(1, 3), document(2, 6), document(3, 5), document(4, 2), document(5, 10)});
  REQUIRE(packs.size() == 3);
  CHECK(packs[0].tokens == 10);
  CHECK(packs[0].pieces.size() == 3);
}

TEST_CASE("a pack is closed at its number of documents, cu_seqlens keep one shape") {
  PackerOptions o{.capacity = 100, .max_documents = 3, .buffer_documents = 64};
  std::vector<PackDocument> stream;
  for (uint64_t i = 0; i < 10; ++i) stream.push_back(document(i, 2));
  PackStatistics s;
  std::vector<Pack> packs = pack_all(o, stream, &s);
  check_packs(o, stream, packs, s);
  REQUIRE(packs.size() == 4);
  CHECK(packs[0].cu_seqlens == std::vector<int32_t>{0, 2, 4, 6});
  CHECK(packs[3].cu_seqlens == std::vector<int32_t>{0, 2, 2, 2});
}

TEST_CASE("spans of a pack are bounded, and others fill it") {
  PackerOptions o{.capacity = 20, .max_documents = 8, .max_spans = 2, .buffer_documents = 64};
  std::vector<PackDocument> stream;
  for (uint64_t i = 0; i < 4; ++i) stream.push_back(document(i, 5, {{1, 2}}));
  for (uint64_t i = 4; i < 8; ++i) stream.push_back(document(i, 5));
  PackStatistics s;
  std::vector<Pack> packs = pack_all(o, stream, &s);
  check_packs(o, stream, packs, s);
  CHECK(packs.size() == 2);
}

TEST_CASE("documents over capacity are split between spans") {
  PackerOptions o{.capacity = 10, .max_documents = 4, .buffer_documents = 8};
  PackStatistics s;
  std::vector<PackDocument> stream = {document(7, 25, {{2, 3}, {8, 4}, {12, 9}})};
  std::vector<Pack> packs = pack_all(o, stream, &s);
  check_packs(o, stream, packs, s);
  std::vector<std::array<int64_t, 2>> parts;
  for (const Pack& pack : packs)
    for (const PackPiece& piece : pack.pieces) parts.push_back({piece.begin, piece.tokens});
  std::sort(parts.begin(), parts.end());
  // At 10 lies the second span, which begins at 8; behind it the third does not fit, either.
  CHECK(parts == std::vector<std::array<int64_t, 2>>{{0, 8}, {8, 4}, {12, 10}, {22, 3}});
  CHECK(s.documents_split == 1);
  CHECK(s.documents_out == 1);
  CHECK(s.pieces_out == 4);
}

TEST_CASE("what cannot be packed is dropped and counted by reason") {
  PackerOptions o{.capacity = 10, .max_documents = 4, .max_spans = 1, .buffer_documents = 8};
  std::vector<PackDocument> stream = {document(1, 0), document(2, 30, {{3, 11}}), document(3, 12),
                                      document(4, 6, {{0, 1}, {3, 1}}), document(5, 10)};
  PackStatistics s;
  check_packs(o, stream, pack_all(o, stream, &s), s);
  CHECK(s.dropped_documents == std::array<int64_t, 4>{1, 0, 0, 1});
  CHECK(s.dropped_tokens == std::array<int64_t, 4>{0, 0, 0, 30});
  CHECK(s.documents_split == 2);
  CHECK(contains(s.text(),
                 "; split 2 documents; dropped 2 documents, 30 tokens (empty 1, span too long 1)"));
  o.too_long = TooLong::drop;
  check_packs(o, stream, pack_all(o, stream, &s), s);
  CHECK(s.dropped_documents == std::array<int64_t, 4>{1, 1, 1, 1});
  CHECK(s.dropped_tokens == std::array<int64_t, 4>{0, 12, 6, 30});
}

TEST_CASE("without packing each document is a row, in the order of the stream") {
  PackerOptions o{.capacity = 10, .max_documents = 3, .policy = PackPolicy::one_per_row};
  std::vector<PackDocument> stream = {document(1, 4), document(2, 13), document(3, 1)};
  PackStatistics s;
  std::vector<Pack> packs = pack_all(o, stream, &s);
  check_packs(o, stream, packs, s);
  CHECK(outline(packs) ==
        std::vector<std::array<int64_t, 5>>{
            {0, 1, 0, 4, 0}, {1, 2, 0, 10, 0}, {2, 2, 10, 3, 0}, {3, 3, 0, 1, 0}});
  CHECK(packs[0].cu_seqlens == std::vector<int32_t>{0, 4, 4, 4});
  CHECK(s.waste() == s.waste_padded_to_capacity());
  Packer packer(o);
  packer.add(document(1, 4));
  CHECK(packer.next().has_value());  // it need not wait for others
}

TEST_CASE("by length, rows of one width make a pack") {
  PackerOptions o{.capacity = 16,
                  .max_documents = 4,
                  .buffer_documents = 100,
                  .policy = PackPolicy::by_length,
                  .widths = {4, 8, 16}};
  std::vector<PackDocument> stream = {document(1, 3), document(2, 7), document(3, 9),
                                      document(4, 4), document(5, 8), document(6, 1),
                                      document(7, 2), document(8, 5)};
  PackStatistics s;
  std::vector<Pack> packs = pack_all(o, stream, &s);
  check_packs(o, stream, packs, s);
  REQUIRE(packs.size() == 4);
  CHECK(packs[0].width == 4);
  CHECK(packs[0].rows == 4);
  CHECK(packs[0].cu_seqlens == std::vector<int32_t>{0, 4, 8, 12, 16});
  CHECK(packs[3].pieces.size() == 1);  // a row of 8 that found no other
  CHECK(s.padded_out == 64);
}

TEST_CASE("padding of log-normal lengths is below 2%") {
  struct Lengths {
    double median, sigma;
  };
  for (Lengths l : {Lengths{245, 0.9}, Lengths{300, 1.0}, Lengths{512, 0.5}, Lengths{900, 0.8}}) {
    PackerOptions o{.capacity = 2048};
    std::vector<PackDocument> stream = log_normal(20000, l.median, l.sigma, 5, 2048);
    PackStatistics s;
    check_packs(o, stream, pack_all(o, stream, &s), s);
    CAPTURE(s.text());
    CHECK(s.waste() < 0.02);
    CHECK(s.waste_padded_to_capacity() > 0.4);
  }
}

TEST_CASE("a document waits for at most as many packs as the buffer holds") {
  PackerOptions o{.capacity = 64, .max_documents = 8, .buffer_documents = 20};
  std::vector<PackDocument> stream = log_normal(3000, 20, 1, 3, 64);
  Packer packer(o);
  std::map<uint64_t, int64_t> entered;
  int64_t packs = 0, longest = 0;
  for (const PackDocument& d : stream) {
    entered[d.id] = packs;
    packer.add(d);
    while (!packer.wants_documents()) {
      const std::optional<Pack> pack = packer.next();
      for (const PackPiece& piece : pack->pieces)
        longest = std::max(longest, packs - entered[piece.id]);
      ++packs;
    }
  }
  CHECK(longest <= o.buffer_documents);
  CHECK(longest > 1);
}

// Any options and lengths, small enough that all limits are met.
struct Trial {
  PackerOptions options;
  std::vector<PackDocument> stream;
};

Trial random_trial(uint64_t seed) {
  std::mt19937_64 engine(seed);
  auto below = [&](int64_t n) { return static_cast<int64_t>(engine() % static_cast<uint64_t>(n)); };
  Trial t;
  PackerOptions& o = t.options;
  o.capacity = 1 + below(below(2) ? 8 : 200);
  o.max_documents = 1 + below(below(2) ? 3 : 40);
  o.max_spans = below(3) == 0 ? 0 : 1 + below(5);
  o.buffer_documents = 1 + below(below(2) ? 4 : 50);
  o.policy = static_cast<PackPolicy>(below(5) < 3 ? 0 : 1 + below(2));
  o.too_long = below(4) == 0 ? TooLong::drop : TooLong::split;
  const int64_t kinds = 1 + below(4), count = below(80);
  for (int64_t i = 0; i < count; ++i) {
    int64_t tokens = 0;
    switch (below(kinds)) {
      case 0: tokens = below(o.capacity + 2); break;
      case 1: tokens = 1 + below(3); break;
      case 2: tokens = o.capacity / 2 + below(3); break;
      default: tokens = below(4 * o.capacity + 5);
    }
    std::vector<PackSpan> spans;
    for (int64_t at = below(4); at < tokens && below(6) != 0;) {
      const int64_t length = std::min(tokens - at, 1 + below(below(8) == 0 ? o.capacity + 3 : 4));
      spans.push_back({at, length});
      at += length + below(3) * below(5);
    }
    t.stream.push_back(document(static_cast<uint64_t>(i), tokens, std::move(spans)));
  }
  return t;
}

TEST_CASE("any mix of lengths, spans and options: it ends, and nothing is lost") {
  for (uint64_t seed = 0; seed < 3000; ++seed) {
    CAPTURE(seed);
    const Trial t = random_trial(seed);
    PackStatistics s, again;
    const std::vector<Pack> packs = pack_all(t.options, t.stream, &s);
    check_packs(t.options, t.stream, packs, s);
    CHECK(outline(pack_all(t.options, t.stream, &again)) == outline(packs));
    CHECK(again == s);
  }
}

TEST_CASE("a packer restored at any point gives the packs that would have come") {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    CAPTURE(seed);
    const Trial t = random_trial(seed + 100000);
    PackStatistics whole, pieced;
    const std::vector<Pack> expected = pack_all(t.options, t.stream, &whole);
    int steps = 0;
    pack_all(t.options, t.stream, nullptr, [&](Packer&) { ++steps; });
    for (int at = 0; at < steps; ++at) {
      int step = 0;
      const std::vector<Pack> packs = pack_all(t.options, t.stream, &pieced, [&](Packer& packer) {
        if (step++ != at) return;
        const PackerState saved = packer.state();
        PackerState read = without_payloads(saved);
        for (PackPiece& piece : read.waiting)
          piece.payload = std::make_shared<const uint64_t>(piece.id);
        // Into one that had other documents before.
        Packer fresh(packer.options());
        fresh.add(document(99, 1));
        fresh.set_state(read);
        const PackerState round = fresh.state();
        CHECK(round.statistics == saved.statistics);
        CHECK(round.waiting.size() == saved.waiting.size());
        packer.set_state(round);
      });
      CHECK(outline(packs) == outline(expected));
      CHECK(pieced == whole);
    }
  }
}

TEST_CASE("refusals say what was found and expected") {
  const auto make = [](PackerOptions o) { return user_error([&] { Packer packer(o); }); };
  CHECK(contains(make({.capacity = 0}), "capacity is 0, expected at least 1"));
  CHECK(contains(make({.capacity = int64_t{1} << 31}), "less than 2^31"));
  CHECK(contains(make({.max_documents = 0}), "max_documents is 0"));
  CHECK(contains(make({.max_spans = -1}), "max_spans is -1"));
  CHECK(contains(make({.buffer_documents = 0}), "buffer_documents is 0"));
  CHECK(contains(make({.policy = PackPolicy::by_length, .widths = {8, 4}}), "ascending"));
  CHECK(contains(make({.policy = PackPolicy::by_length, .widths = {8}}), "the capacity, 2048"));

  Packer packer({.capacity = 10, .buffer_documents = 2});
  const auto add = [&](PackDocument d) { return user_error([&] { packer.add(d); }); };
  CHECK(contains(add(document(5, -1)), "document 5 has -1 tokens"));
  CHECK(contains(add(document(5, 4, {{3, 2}})), "span 0 begins at 3 and has 2 tokens"));
  CHECK(contains(add(document(5, 4, {{0, 2}, {1, 2}})), "(which ends at 2)"));
  CHECK(contains(add(document(5, 4, {{0, 0}})), "has 0 tokens"));
  CHECK(contains(add(document(5, 4, {{1, INT64_MAX}})), "span 0"));
  CHECK(contains(add(document(5, 4, {{INT64_MIN, 2}})), "span 0"));
  CHECK(packer.statistics().documents_in == 0);
  packer.add(document(1, 3));
  CHECK(!packer.next().has_value());
  packer.add(document(2, 3));
  CHECK(contains(add(document(3, 3)), "take packs with next()"));
  packer.finish();
  CHECK(contains(add(document(3, 3)), "after finish()"));
}

TEST_CASE("a state of other options, or one that does not add up, is refused") {
  const PackerOptions o{.capacity = 10, .max_spans = 1, .buffer_documents = 4};
  Packer packer(o);
  packer.add(document(1, 3, {{0, 2}}));
  const PackerState good = packer.state();
  const auto restore = [&](const std::function<void(PackerState&)>& change) {
    PackerState state = good;
    change(state);
    return user_error([&] { packer.set_state(state); });
  };
  CHECK(contains(restore([](PackerState& s) { s.options.capacity = 11; }), "other options"));
  CHECK(contains(restore([](PackerState& s) { s.waiting.clear(); }), "damaged"));
  CHECK(contains(restore([](PackerState& s) { s.waiting[0].tokens = 2; }), "damaged"));
  CHECK(contains(restore([](PackerState& s) { s.waiting[0].tokens = 11; }), "damaged"));
  CHECK(contains(restore([](PackerState& s) { s.waiting[0].begin = -1; }), "damaged"));
  CHECK(contains(restore([](PackerState& s) { s.waiting[0].spans[0].length = 9; }), "span 0"));
  CHECK(contains(restore([](PackerState& s) { s.statistics.documents_out = 1; }), "damaged"));
  packer.set_state(good);
  CHECK(packer.waiting_tokens() == 3);
}

}  // namespace
}  // namespace fusec::data
