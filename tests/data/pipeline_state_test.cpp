// The text of a pipeline's state, and states that do not fit.
#include <functional>

#include "pipeline_data.h"

namespace fusec::data {
namespace {

using tests::contains;
using tests::Copied;
using tests::render_text;
using tests::small_options;
using tests::take;
using tests::TextSet;
using tests::user_error;

PipelineState some_state(const TextSet& set) {
  BatchPipeline pipeline(set.paths(), {.shuffle = true}, small_options(), render_text);
  take(pipeline, 3);
  PipelineState state = pipeline.state();
  REQUIRE(state.waiting.size() > 2);
  return state;
}

TEST_CASE("pipeline state: the text gives back all of it") {
  const TextSet set(40, 90);
  PipelineState state = some_state(set);
  state.statistics.dropped["unknown role"] = {3, 44};
  state.statistics.first_dropped = "a.jsonl:3: \"unknown\"\n";
  state.packer.policy = PackPolicy::by_length;
  state.packer.widths = {16, 64};
  state.waiting[0].digest = UINT64_MAX;
  CHECK(parse_pipeline_state(pipeline_state_text(state), "s") == state);
  CHECK(parse_pipeline_state(pipeline_state_text({}), "s") == PipelineState());
  // A file's name may be any bytes; its text is still JSON.
  state.statistics.first_dropped = "\xff\xfe";
  parse_pipeline_state(pipeline_state_text(state), "s");
}

TEST_CASE("pipeline state: text that is no state is refused with the place") {
  const TextSet set(40);
  const std::string good = pipeline_state_text(some_state(set));
  auto refused = [&](const std::string& from, const std::string& to, const std::string& reason) {
    std::string text = good;
    const size_t at = text.find(from);
    REQUIRE(at != std::string::npos);
    text.replace(at, from.size(), to);
    const std::string message = user_error([&] { parse_pipeline_state(text, "state"); });
    CHECK(contains(message, "state"));
    CHECK(contains(message, reason));
  };
  refused("\"finished\":false", "\"finished\":0", "state.finished is 0, expected true or false");
  refused("\"finished\":false,", "", "no key \"finished\"");
  refused("\"finished\":false", "\"finished\":false,\"extra\":1", "unknown key \"extra\"");
  refused("\"world\":1", "\"world\":-1", "state.stream.options.world is -1");
  refused("\"policy\":\"best_fit\"", "\"policy\":\"best\"", "state.packer.policy is \"best\"");
  refused("\"waiting\":[", "\"waiting\":[[1,2],", "of a piece 7 numbers");
  refused("\"epoch\":", "\"epoch\":\"x\",\"was\":", "state.stream.epoch is \"x\"");
  refused("\"tokens_in\":", "\"tokens_in\":1e300,\"was\":", "tokens_in is 1e+300");
  refused("\"tokens_in\":", "\"tokens_in\":18446744073709551615,\"was\":", "2^53");
  CHECK(contains(user_error([] { parse_pipeline_state("[1]", "s"); }), "s: is an array"));
}

TEST_CASE("pipeline state: one of other options or data is refused, and nothing changes") {
  const TextSet set(40);
  const PipelineState good = some_state(set);
  BatchPipeline pipeline(set.paths(), {.shuffle = true}, small_options(), render_text);
  take(pipeline, 1);
  const PipelineState before = pipeline.state();
  auto refused = [&](std::function<void(PipelineState&)> change, const std::string& reason) {
    PipelineState state = good;
    change(state);
    CHECK(contains(user_error([&] { pipeline.set_state(state); }), reason));
    CHECK(pipeline.state() == before);
  };
  refused([](auto& s) { s.options += "x"; }, "made with other options");
  refused([](auto& s) { s.packer.capacity = 65; }, "other options");
  refused([](auto& s) { s.stream.options.seed = 8; }, "other options");
  refused([](auto& s) { s.stream.files_digest ^= 1; }, "other names or sizes");
  refused([](auto& s) { s.waiting[0].digest ^= 1; }, "has other tokens than when");
  refused([](auto& s) { s.waiting[0].position.offset += 1; }, "no document");
  refused([](auto& s) { s.waiting[0].position.file = 9; }, "another data set");
  refused([](auto& s) { s.waiting[0].tokens += 1; }, "lies outside of it");
  refused([](auto& s) { s.waiting[0].begin = 1000; }, "lies outside of it");
  refused([](auto& s) { s.waiting.pop_back(); }, "the state is damaged");
  refused([](auto& s) { s.statistics.packs.tokens_in += 1; }, "the state is damaged");
  PipelineOptions options = small_options();
  options.images.scale.mean[0] = 0.5;
  BatchPipeline scaled(set.paths(), {.shuffle = true}, options, render_text);
  CHECK(contains(user_error([&] { scaled.set_state(good); }), "made with other options"));
  // The refusals cost nothing: the batch that follows is the one that would have followed.
  BatchPipeline whole(set.paths(), {.shuffle = true}, small_options(), render_text);
  CHECK(take(pipeline, 1)[0] == take(whole, 2)[1]);
  // A picture of a waiting document that is gone.
  pipeline.set_state(good);
  for (const char* name : tests::kPictures) std::filesystem::remove(set.folder / name);
  CHECK(contains(user_error([&] { pipeline.set_state(good); }), "No such file"));
}

}  // namespace
}  // namespace fusec::data
