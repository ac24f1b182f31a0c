// What goes wrong in a pipeline: errors in their turn with file and line, or counted drops; and its
// end at any moment.
#include <chrono>
#include <stdexcept>

#include "pipeline_data.h"

namespace fusec::data {
namespace {

using tests::contains;
using tests::Copied;
using tests::kImageTokens;
using tests::render_text;
using tests::small_options;
using tests::take;
using tests::take_epoch;
using tests::TextSet;
using tests::user_error;

// A file of one text a line beside the pictures.
std::string lines(const TextSet& set, const std::vector<std::string>& texts) {
  std::string bytes;
  for (const std::string& text : texts) bytes += "{\"text\": \"" + text + "\"}\n";
  return set.folder.file("some.jsonl", bytes);
}

PipelineOptions one_by_one() {
  PipelineOptions options = small_options();
  options.packer.policy = PackPolicy::one_per_row;
  options.packer.buffer_documents = 1;
  options.packs = 1;
  options.epoch_end = EpochEnd::flush;
  return options;
}

TEST_CASE("pipeline: an error comes behind the batches before it, with its place, and stays") {
  const TextSet set(1);
  const std::string file = lines(set, {"one", "two", "three", "*", "five"});
  for (int workers : {1, 4}) {
    BatchPipeline pipeline({file}, {}, one_by_one(), render_text, {.workers = workers});
    take(pipeline, 3);
    const PipelineState before = pipeline.state();
    for (int i = 0; i < 3; ++i)
      CHECK(contains(user_error([&] { pipeline.next(); }), "some.jsonl:4: a document with a star"));
    // Set back, it comes to the same place.
    pipeline.set_state(before);
    CHECK(contains(user_error([&] { pipeline.next(); }), "some.jsonl:4: "));
  }
}

TEST_CASE("pipeline: what render() throws gets its place, whatever it is") {
  const TextSet set(1);
  const std::string file = lines(set, {"one", "two"});
  BatchPipeline unplaced({file}, {}, one_by_one(),
                         [](const JsonlRecord&) -> Rendered { fail_user("no such role"); });
  const std::string message = user_error([&] { unplaced.next(); });
  CHECK(contains(message, "no such role"));
  CHECK(contains(message, "in " + file + ":1"));
  PipelineOptions dropping = one_by_one();
  dropping.bad_documents = OnBad::drop;
  BatchPipeline foreign({file}, {}, dropping, [](const JsonlRecord& record) -> Rendered {
    if (record.position.line == 2) throw std::runtime_error("out of luck");
    return render_text(record);
  });
  take(foreign, 1);
  try {
    foreign.next();
    FAIL("expected an Error");
  } catch (const Error& error) {  // a defect of the program is no policy's matter
    CHECK(error.kind() == ErrorKind::internal);
    CHECK(contains(error.what(), file + ":2: rendering this document failed: out of luck"));
  }
}

TEST_CASE("pipeline: a sample that contradicts itself is refused with its place") {
  const TextSet set(1);
  const std::string file = lines(set, {"one"});
  auto refused = [&](Sample sample, const std::string& reason) {
    BatchPipeline pipeline({file}, {}, one_by_one(), [&](const JsonlRecord&) { return sample; });
    const std::string message = user_error([&] { pipeline.next(); });
    CHECK(contains(message, "some.jsonl:1: rendered "));
    CHECK(contains(message, reason));
  };
  const std::vector<int32_t> six(6, 1);
  refused({six, {1, 2}, {}}, "6 tokens with 2 targets");
  refused({{1, -1}, {1, 1}, {}}, "token -1 and target 1 at 1");
  refused({{1, 1}, {-2, 1}, {}}, "token 1 and target -2 at 0");
  refused({six, six, {{0, 3, "a.png"}}}, "image 0 at 0, 3 of 6 tokens; expected 4");
  refused({six, six, {{3, 4, "a.png"}}}, "image 0 at 3, 4 of 6 tokens");
  refused({six, six, {{-1, 4, "a.png"}}}, "image 0 at -1");
  refused({{1, 1, 1, 1, 1, 1, 1, 1}, {1, 1, 1, 1, 1, 1, 1, 1}, {{0, 4, "a.png"}, {3, 4, "a.png"}}},
          "image 1 at 3");
  PipelineOptions text = one_by_one();
  text.images = {};
  BatchPipeline pipeline({file}, {}, text, [&](const JsonlRecord&) {
    return Sample{six, six, {{0, 4, "a"}}};
  });
  CHECK(contains(user_error([&] { pipeline.next(); }), "has 1 images, but the model takes none"));
}

TEST_CASE("pipeline: what is left out is counted by reason, and the tokens add up") {
  const TextSet set(1);
  set.folder.file("damaged.png", "\x89PNG\r\n\x1a\n and no more");
  std::string bytes;
  for (const char* line : {R"({"text": "good"})", R"({"text": "?role"})", R"({"text": "?other"})",
                           R"({"text": "!silent"})", R"({"text": ""})", R"({"text": "*"})",
                           "{\"text\": ", R"({"text": "#0 seen"})", R"({"text": "#1 absent"})",
                           R"({"text": "#2 damaged"})"})
    bytes += std::string(line) + "\n";
  const std::string file = set.folder.file("mixed.jsonl", bytes);
  std::filesystem::remove(set.folder / "b.jpg");
  std::filesystem::rename(set.folder / "damaged.png", set.folder / "c.png");
  PipelineOptions options = one_by_one();
  options.bad_documents = options.bad_images = OnBad::drop;
  BatchPipeline pipeline({file}, {.bad_lines = BadLine::drop}, options, render_text,
                         {.workers = 3});
  CHECK(take_epoch(pipeline).size() == 2);
  const PipelineStatistics& s = pipeline.statistics();
  CHECK(s.documents == 9);
  CHECK(s.dropped.at("unknown role") == DropCount{2, 11});
  CHECK(s.dropped.at("no supervised token") == DropCount{1, 7});
  CHECK(s.dropped.at("bad document") == DropCount{1, 0});
  CHECK(s.dropped.at("missing image") == DropCount{1, kImageTokens + 7});
  CHECK(s.dropped.at("bad image") == DropCount{1, kImageTokens + 8});
  CHECK(s.packs.dropped_documents[static_cast<size_t>(PackDrop::empty)] == 1);
  CHECK(s.lines.dropped[static_cast<size_t>(JsonlDrop::not_json)] == 1);
  CHECK(contains(s.first_dropped, "mixed.jsonl:2: unknown role"));
  CHECK(s.documents_dropped() == 8);
  CHECK(s.tokens == s.packs.tokens_out + s.tokens_dropped());
  CHECK(s.images == 1);
  CHECK(contains(s.text(),
                 "left out 7 documents, 41 tokens (not JSON 1, bad document 1, bad image "
                 "1, missing image 1, no supervised token 1, unknown role 2)"));
  CHECK(contains(s.text(), "dropped 1 documents, 0 tokens (empty 1)"));
}

TEST_CASE("pipeline: an image that is missing, damaged or a bomb is an error with its document") {
  const TextSet set(1);
  auto refused = [&](const std::string& name, const std::string& bytes, const std::string& reason) {
    if (!bytes.empty()) set.folder.file(name, bytes);
    const std::string file = lines(set, {"fine", "#" + std::string(1, name[0]) + "ab"});
    BatchPipeline pipeline({file}, {}, one_by_one(), [&](const JsonlRecord& record) {
      Sample sample = std::get<Sample>(render_text(record));
      for (SampleImage& image : sample.images) image.path = name;
      return sample;
    });
    take(pipeline, 1);
    const std::string message = user_error([&] { pipeline.next(); });
    CHECK(contains(message, name));
    CHECK(contains(message, reason));
    CHECK(contains(message, "in " + file + ":2"));
  };
  refused("0.jpg", "", "No such file");
  refused("1.jpg", tests::jpeg_bytes(tests::picture(30, 30)).substr(0, 300), "unreadable JPEG");
  std::string bomb = tests::jpeg_bytes(tests::picture(16, 16));
  bomb.replace(bomb.find("\xff\xc0") + 5, 4, "\x40\x00\x40\x00", 4);
  refused("2.jpg", bomb, "16384 x 16384; expected sides of 1 to 16384 and at most 67108864");
}

TEST_CASE("pipeline: reasons without end are counted as one") {
  const TextSet set(1);
  std::vector<std::string> texts(200, "text");
  const std::string file = lines(set, texts);
  BatchPipeline pipeline({file}, {}, one_by_one(), [](const JsonlRecord& record) -> Rendered {
    return SampleDrop{"reason " + std::to_string(record.position.line), 1, "see " + record.place};
  });
  CHECK(take_epoch(pipeline).empty());
  const PipelineStatistics& s = pipeline.statistics();
  CHECK(s.dropped.size() == 65);
  CHECK(s.dropped.at("other") == DropCount{136, 136});
  CHECK(s.documents_dropped() == 200);
  CHECK(s.first_dropped == "see " + file + ":1");
}

TEST_CASE("pipeline: an epoch without documents ends, or is an error where it would never end") {
  const TextSet set(1);
  for (const std::vector<std::string>& texts :
       {std::vector<std::string>{}, std::vector<std::string>{"?", "!x", ""}}) {
    const std::string file = lines(set, texts);
    PipelineOptions options = one_by_one();
    BatchPipeline flushed({file}, {}, options, render_text);
    for (int i = 0; i < 5; ++i) CHECK(!flushed.next());
    CHECK(flushed.state().stream.epoch == 5);
    options.epoch_end = EpochEnd::carry;
    BatchPipeline carried({file}, {}, options, render_text);
    CHECK(contains(user_error([&] { carried.next(); }),
                   texts.empty() ? "had no document for rank 0 of 1"
                                 : "had no document that was not dropped for rank 0 of 1"));
  }
  // A rank without any.
  const std::string file = lines(set, {"one"});
  PipelineOptions options = one_by_one();
  options.epoch_end = EpochEnd::carry;
  BatchPipeline second({file}, {.rank = 1, .world = 2}, options, render_text);
  CHECK(contains(user_error([&] { second.next(); }), "no document for rank 1 of 2"));
}

TEST_CASE("pipeline: it ends at any moment, full, empty or at work") {
  const TextSet set(40);
  auto slow = [](const JsonlRecord& record) {
    std::this_thread::sleep_for(std::chrono::microseconds(200));
    return render_text(record);
  };
  BatchPipeline never(set.paths(), {}, small_options(), render_text);
  for (int batches : {0, 1, 5}) {
    for (int wait : {0, 3, 30}) {
      BatchPipeline pipeline(set.paths(), {}, small_options(), slow, {.workers = 3});
      pipeline.start();
      take(pipeline, batches);
      std::this_thread::sleep_for(std::chrono::milliseconds(wait));
    }
  }
  PipelineOptions flushed = small_options();  // ends of epochs hold no batch, and must not pile up
  flushed.epoch_end = EpochEnd::flush;
  BatchPipeline idle({lines(set, {})}, {}, flushed, render_text);
  idle.start();
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
}

TEST_CASE("pipeline: options outside their range are refused") {
  const TextSet set(1);
  auto refused = [&](auto change, const std::string& reason) {
    PipelineOptions options = small_options();
    PipelineResources resources;
    change(options, resources);
    const std::string message =
        user_error([&] { BatchPipeline(set.paths(), {}, options, render_text, resources); });
    CHECK(contains(message, reason));
  };
  refused([](auto& o, auto&) { o.packs = 0; }, "packs is 0");
  refused([](auto& o, auto&) { o.packs = int64_t{1} << 40; }, "packs is 1099511627776");
  refused([](auto& o, auto&) { o.packer.capacity = 0; }, "packer.capacity is 0");
  refused([](auto& o, auto&) { o.packer.max_documents = 0; }, "max_documents is 0");
  refused([](auto& o, auto&) { o.packer.buffer_documents = 0; }, "buffer_documents is 0");
  refused([](auto& o, auto&) { o.pad_token = -1; }, "pad_token is -1");
  refused([](auto& o, auto&) { o.images.side = -1; }, "images.side is -1");
  refused([](auto& o, auto&) { o.images.tokens = 0; }, "images.tokens is 0");
  refused([](auto& o, auto&) { o.images.tokens = 65; }, "images.tokens is 65, expected 1 to 64");
  refused([](auto& o, auto&) { o.images.max_pixels = 0; }, "images.max_pixels is 0");
  refused([](auto& o, auto&) { o.images.scale.deviation[1] = 0; }, "channel 1");
  refused([](auto&, auto& r) { r.workers = 0; }, "workers is 0");
  refused([](auto&, auto& r) { r.prefetch = 0; }, "prefetch is 0");
  refused([](auto&, auto& r) { r.allocate = [](size_t) { return nullptr; }; }, "gave no ");
  CHECK(contains(user_error([&] { BatchPipeline(set.paths(), {}, small_options(), nullptr); }),
                 "no render function"));
}

}  // namespace
}  // namespace fusec::data
