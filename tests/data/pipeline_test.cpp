// Batches of the pipeline: what they hold, and that nothing but files, options and state decides
// it.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <set>

#include "pipeline_data.h"

namespace fusec::data {
namespace {

using tests::contains;
using tests::Copied;
using tests::kImageTokens;
using tests::kSide;
using tests::render_text;
using tests::small_options;
using tests::take;
using tests::take_epoch;
using tests::TextSet;
using tests::user_error;

constexpr JsonlOptions kShuffled = {.shuffle = true, .seed = 3, .window_documents = 8};

std::vector<float> planes_of(const std::string& path) {
  std::vector<float> planes(3 * kSide * kSide);
  const io::Image image = io::read_image(path, io::decode_options(io::ImageFit::pad, kSide));
  io::PixelTable(io::PixelScale::white_is_zero())
      .write_planes(io::square(image, io::ImageFit::pad, kSide), planes.data());
  return planes;
}

// Everything that must hold for any batch; returns the characters of its pieces by document.
void check_batch(const PackedBatch& b, const PipelineOptions& options,
                 const std::map<std::pair<int64_t, int64_t>, std::string>& texts,
                 const std::vector<std::vector<float>>& pictures) {
  const auto length = static_cast<int64_t>(b.tokens.size());
  REQUIRE(length == options.packs * options.packer.capacity);
  std::vector<bool> covered(b.tokens.size());
  std::set<int32_t> starts(b.cu_seqlens.begin(), b.cu_seqlens.end());
  int64_t filled = 0, supervised = 0, documents = 0, image = 0, end = 0;
  for (const BatchPiece& p : b.pieces) {
    const std::string& text = texts.at({p.position.file, p.position.line});
    const Sample sample = std::get<Sample>(render_text({p.position, "", {{"text", text}}}));
    REQUIRE(p.at >= end);
    end = p.at + p.tokens;
    REQUIRE(end <= length);
    CHECK(p.at / options.packer.capacity == (end - 1) / options.packer.capacity);
    // The piece is a segment of its own.
    const auto from = std::find(b.cu_seqlens.begin(), b.cu_seqlens.end(), p.at);
    REQUIRE(from != b.cu_seqlens.end());
    CHECK(*std::upper_bound(b.cu_seqlens.begin(), b.cu_seqlens.end(), p.at) == end);
    for (int64_t i = 0; i < p.tokens; ++i) {
      const auto at = static_cast<size_t>(p.at + i), in = static_cast<size_t>(p.begin + i);
      CHECK(b.tokens[at] == sample.tokens[in]);
      CHECK(b.targets[at] == sample.targets[in]);
      CHECK(b.positions[at] == i);
      covered[at] = true;
      supervised += b.targets[at] >= 0;
    }
    CHECK(p.image == image);
    int64_t images = 0;
    for (const SampleImage& picture : sample.images) {
      const int64_t at = picture.begin - p.begin;
      if (at + kImageTokens <= 0 || at >= p.tokens) continue;
      CHECK(at >= 0);
      CHECK(at + kImageTokens <= p.tokens);
      for (int k = 0; k < kImageTokens; ++k)
        CHECK(b.slots[static_cast<size_t>(image * kImageTokens + k)] == p.at + at + k);
      const auto& expected = pictures[static_cast<size_t>(picture.path[0] - 'a')];
      CHECK(std::equal(expected.begin(), expected.end(),
                       b.images.begin() + image * static_cast<int64_t>(expected.size())));
      ++image;
      ++images;
    }
    CHECK(p.images == images);
    CHECK(p.last == (p.begin + p.tokens == static_cast<int64_t>(sample.tokens.size())));
    filled += p.tokens;
    documents += p.last;
  }
  CHECK(b.cu_seqlens[0] == 0);
  CHECK(b.cu_seqlens.back() == end);
  CHECK(std::is_sorted(b.cu_seqlens.begin(), b.cu_seqlens.end()));
  for (size_t i = 0; i < covered.size(); ++i) {
    if (covered[i]) continue;
    CHECK(b.tokens[i] == options.pad_token);
    CHECK(b.targets[i] == -1);
    CHECK(b.positions[i] == 0);
  }
  CHECK(filled == b.filled);
  CHECK(supervised == b.supervised);
  CHECK(documents == b.documents);
  CHECK(image == b.image_count);
  for (size_t i = static_cast<size_t>(image * kImageTokens); i < b.slots.size(); ++i)
    CHECK(b.slots[i] == -1);
  const auto values = static_cast<size_t>(image * 3 * kSide * kSide);
  CHECK(std::all_of(b.images.begin() + static_cast<std::ptrdiff_t>(values), b.images.end(),
                    [](float value) { return value == 0; }));
}

std::map<std::pair<int64_t, int64_t>, std::string> texts_by_place(const TextSet& set) {
  std::map<std::pair<int64_t, int64_t>, std::string> places;
  for (size_t i = 0; i < set.texts.size(); ++i)
    places[{int64_t(i % 2), int64_t(i / 2 + 1)}] = set.texts[i];
  return places;
}

std::vector<std::vector<float>> pictures_of(const TextSet& set) {
  std::vector<std::vector<float>> pictures;
  for (const char* name : tests::kPictures) pictures.push_back(planes_of(set.folder / name));
  return pictures;
}

TEST_CASE("pipeline: a batch holds its documents, by every policy") {
  // Some documents are longer than a pack, and some have more pictures than one may.
  const TextSet set(60, 90);
  const auto texts = texts_by_place(set);
  const auto pictures = pictures_of(set);
  for (PackPolicy policy : {PackPolicy::best_fit, PackPolicy::one_per_row, PackPolicy::by_length}) {
    for (int64_t max_spans : {0, 2}) {
      CAPTURE(static_cast<int>(policy));
      PipelineOptions options = small_options();
      options.packer.policy = policy;
      options.packer.max_spans = max_spans;
      options.epoch_end = EpochEnd::flush;
      BatchPipeline pipeline(set.paths(), kShuffled, options, render_text);
      std::multiset<std::pair<int64_t, int64_t>> seen;
      int64_t tokens = 0, number = 0;
      while (BatchPipeline::Lease lease = pipeline.next()) {
        check_batch(*lease, options, texts, pictures);
        for (const BatchPiece& p : lease->pieces)
          if (p.last) seen.insert({p.position.file, p.position.line});
        tokens += lease->filled;
        CHECK(lease->number == static_cast<uint64_t>(number++));
        CHECK(lease->epoch == 0);
      }
      CHECK(seen.size() == set.texts.size());
      for (const auto& [place, text] : texts) CHECK(seen.count(place) == 1);
      const PipelineStatistics& s = pipeline.statistics();
      CHECK(s.documents == 60);
      CHECK(s.tokens == tokens);
      CHECK(s.packs.tokens_out == tokens);
      CHECK(s.packs.documents_split > 0);
      CHECK(s.batches == number);
      CHECK(pipeline.next()->epoch == 1);
    }
  }
}

TEST_CASE("pipeline: the same batches for any number of workers, batches ahead and timing") {
  const TextSet set(50);
  PipelineOptions options = small_options();
  BatchPipeline one(set.paths(), kShuffled, options, render_text, {.workers = 1, .prefetch = 1});
  const std::vector<Copied> expected = take(one, 40);
  CHECK(expected.back().counts.back() >= 2);  // epochs
  for (int workers : {2, 7}) {
    for (int prefetch : {1, 5}) {
      std::atomic<uint64_t> calls = 0;
      auto uneven = [&](const JsonlRecord& record) {
        std::this_thread::sleep_for(std::chrono::microseconds(philox(9, ++calls)[0] % 300));
        return render_text(record);
      };
      // With room for no, one and all images.
      const size_t cache = prefetch == 1 ? 0 : workers == 2 ? 300 : 1 << 20;
      BatchPipeline many(set.paths(), kShuffled, options, uneven,
                         {.workers = workers, .prefetch = prefetch, .image_cache_bytes = cache});
      CHECK(take(many, 40) == expected);
      CHECK(many.state() == one.state());
      CHECK(many.wait_seconds() >= 0);
    }
  }
}

TEST_CASE("pipeline: set to the state between any two batches it goes on with the very same") {
  const TextSet set(40, 90);
  for (PackPolicy policy : {PackPolicy::best_fit, PackPolicy::by_length}) {
    for (EpochEnd end : {EpochEnd::carry, EpochEnd::flush}) {
      PipelineOptions options = small_options();
      options.packer.policy = policy;
      options.epoch_end = end;
      const JsonlOptions stream = {.rank = 1, .world = 2, .shuffle = true, .window_documents = 8};
      // Empty: an epoch's end.
      std::vector<std::vector<Copied>> expected;
      std::vector<std::string> states;
      BatchPipeline whole(set.paths(), stream, options, render_text);
      auto next = [](BatchPipeline& pipeline) {
        std::vector<Copied> batch;
        if (BatchPipeline::Lease lease = pipeline.next()) {
          CHECK(lease.state() == pipeline.state());
          batch.emplace_back(*lease);
        }
        return batch;
      };
      constexpr size_t kBatches = 30;
      for (size_t i = 0; i < kBatches; ++i) {
        states.push_back(pipeline_state_text(whole.state()));
        expected.push_back(next(whole));
      }
      CHECK(whole.state().stream.epoch >= 1);
      BatchPipeline again(set.paths(), stream, options, render_text, {.workers = 3});
      for (size_t k = 0; k < kBatches; ++k) {
        CAPTURE(k);
        const PipelineState state = parse_pipeline_state(states[k], "state");
        CHECK(pipeline_state_text(state) == states[k]);
        // Of a new pipeline, and of one that stands elsewhere.
        BatchPipeline fresh(set.paths(), stream, options, render_text);
        fresh.set_state(state);
        again.set_state(state);
        CHECK(again.state() == state);
        for (size_t i = k; i < std::min(k + 4, kBatches); ++i) {
          CHECK(next(fresh) == expected[i]);
          CHECK(next(again) == expected[i]);
        }
      }
    }
  }
}

TEST_CASE("pipeline: a fixed set gives the same batches every epoch") {
  const TextSet set(31);
  PipelineOptions options = small_options();
  options.epoch_end = EpochEnd::flush;
  BatchPipeline pipeline(set.paths(), {}, options, render_text);
  auto numbered_from_0 = [](std::vector<Copied> batches) {
    for (size_t i = 0; i < batches.size(); ++i) {
      batches[i].counts[4] = static_cast<int64_t>(i);
      batches[i].counts[5] = 0;
      for (size_t p = 0; p < batches[i].pieces.size(); p += 10) batches[i].pieces[p] %= 31;
    }
    return batches;
  };
  const std::vector<Copied> first = take_epoch(pipeline);
  CHECK(first.size() > 3);
  for (int epoch = 1; epoch < 4; ++epoch)
    CHECK(numbered_from_0(take_epoch(pipeline)) == numbered_from_0(first));
  // One that is broken off begins anew from its first state.
  const PipelineState start = BatchPipeline(set.paths(), {}, options, render_text).state();
  take(pipeline, 2);
  pipeline.set_state(start);
  CHECK(take_epoch(pipeline) == first);
}

TEST_CASE("pipeline: ranks see each document once an epoch, and one that is done adds nothing") {
  const TextSet set(53);
  PipelineOptions options = small_options();
  options.epoch_end = EpochEnd::flush;
  std::multiset<std::pair<int64_t, int64_t>> seen;
  for (int rank = 0; rank < 3; ++rank) {
    BatchPipeline pipeline(set.paths(), {.rank = rank, .world = 3, .shuffle = true}, options,
                           render_text);
    while (BatchPipeline::Lease lease = pipeline.next())
      for (const BatchPiece& p : lease->pieces)
        if (p.last) seen.insert({p.position.file, p.position.line});
    const PackedBatch& empty = pipeline.empty_batch();
    CHECK(empty.supervised == 0);
    CHECK(empty.filled == 0);
    CHECK(std::all_of(empty.targets.begin(), empty.targets.end(), [](int t) { return t == -1; }));
    CHECK(std::all_of(empty.tokens.begin(), empty.tokens.end(), [](int t) { return t == 7; }));
    CHECK(std::all_of(empty.slots.begin(), empty.slots.end(), [](int t) { return t == -1; }));
    CHECK(empty.cu_seqlens.back() == 0);
  }
  CHECK(seen.size() == 53);
  CHECK(std::set(seen.begin(), seen.end()).size() == 53);
}

TEST_CASE("pipeline: any mix of lengths comes out whole, within every limit") {
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    CAPTURE(seed);
    const PhiloxBlock r = philox(seed, 0), q = philox(seed, 1);
    const TextSet set(20 + static_cast<int>(r[0] % 40), 1 + r[1] % 120, seed);
    PipelineOptions options = small_options();
    options.packer.capacity = 12 + r[2] % 80;
    options.packer.max_documents = 1 + r[3] % 6;
    options.packer.max_spans = q[0] % 4;
    options.packer.buffer_documents = 1 + q[1] % 20;
    options.packer.policy = static_cast<PackPolicy>(q[2] % 3);
    options.packer.too_long = static_cast<TooLong>(q[3] % 2);
    options.packs = 1 + static_cast<int64_t>(seed % 3);
    options.epoch_end = EpochEnd::flush;
    BatchPipeline pipeline(set.paths(), kShuffled, options, render_text);
    const auto texts = texts_by_place(set);
    const auto pictures = pictures_of(set);
    int64_t tokens = 0, documents = 0;
    while (BatchPipeline::Lease lease = pipeline.next()) {
      check_batch(*lease, options, texts, pictures);
      tokens += lease->filled;
      documents += lease->documents;
    }
    const PipelineStatistics& s = pipeline.statistics();
    CHECK(s.documents == static_cast<int64_t>(set.texts.size()));
    CHECK(s.tokens == tokens + s.tokens_dropped());
    CHECK(s.documents == documents + s.documents_dropped());
  }
}

TEST_CASE("pipeline: batches lie in the memory that the caller gives, until their leases end") {
  const TextSet set(30);
  std::vector<std::pair<char*, size_t>> blocks;
  auto allocate = [&](size_t bytes) {
    auto* memory = static_cast<char*>(std::aligned_alloc(256, (bytes + 255) / 256 * 256));
    std::fill_n(memory, bytes, '\x7f');
    blocks.push_back({memory, bytes});
    return std::shared_ptr<void>(memory, std::free);
  };
  BatchPipeline::Lease outliving;
  std::vector<Copied> expected;
  {
    BatchPipeline pipeline(set.paths(), kShuffled, small_options(), render_text,
                           {.workers = 2, .prefetch = 2, .allocate = allocate});
    REQUIRE(blocks.size() == 3);
    std::vector<BatchPipeline::Lease> leases;
    for (int i = 0; i < 3; ++i) leases.push_back(pipeline.next());
    std::set<const void*> places;
    for (const BatchPipeline::Lease& lease : leases) {
      const auto* at = reinterpret_cast<const char*>(lease->tokens.data());
      CHECK(std::any_of(blocks.begin(), blocks.end(), [&](const auto& block) {
        return at >= block.first && at < block.first + block.second;
      }));
      CHECK(reinterpret_cast<uintptr_t>(lease->images.data()) % 256 == 0);
      places.insert(at);
    }
    CHECK(places.size() == 3);
    CHECK(contains(user_error([&] { pipeline.next(); }), "all 3 batches are leased"));
    // Each still holds what it held; and so does one that outlives the pipeline.
    expected.emplace_back(*leases[1]);
    leases.erase(leases.begin());
    const Copied fourth(*pipeline.next());
    CHECK(Copied(*leases[0]) == expected[0]);
    // Set back, the pipeline leaves alone what is leased.
    pipeline.set_state(leases[1].state());
    CHECK(Copied(*pipeline.next()) == fourth);
    CHECK(Copied(*leases[0]) == expected[0]);
    outliving = leases[0];
  }
  CHECK(Copied(*outliving) == expected[0]);
  CHECK(contains(user_error([] { *BatchPipeline::Lease(); }), "empty lease"));
}

TEST_CASE("pipeline: text alone has neither images nor slots") {
  const TextSet set(1);
  set.folder.file("text.jsonl", "{\"text\": \"one\"}\n{\"text\": \"two words\"}\n");
  PipelineOptions options = small_options();
  options.images = {};
  options.epoch_end = EpochEnd::flush;
  BatchPipeline pipeline({set.folder / "text.jsonl"}, {}, options, render_text);
  const BatchPipeline::Lease lease = pipeline.next();
  CHECK(lease->images.empty());
  CHECK(lease->slots.empty());
  CHECK(lease->filled == 12);
  CHECK(lease->supervised == 10);
  CHECK(pipeline.shape().tokens == 128);
}

}  // namespace
}  // namespace fusec::data
