// What a checkpoint says of a run, as text and back; and which checkpoints of a folder stay.
#include "fusec/models/train_state.h"

#include <bit>
#include <cmath>

#include "../data/scratch.h"
#include "fusec/models/checkpoint_store.h"
#include "fusec/models/config.h"
#include "fusec/models/tokenizer.h"

using namespace fusec;
using namespace fusec::models;
using tests::contains;
using tests::user_error;

namespace {

TrainState some_state() {
  TrainState s;
  s.step = 123456789012345;
  s.rng_key = 0xffffffffffffffffu;
  s.rng_counter = 0x8000000000000001u;
  s.cursor = {3, 41};
  s.cursor_count = 100;
  s.cursor_seed = 5;
  s.documents = 999;
  s.tokens = 12345;
  s.window_loss = 0.1 + 0.2;
  s.window_finite = 3;
  s.window_steps = 4;
  s.smoothed_loss = std::nextafter(1.0, 2.0);
  s.metrics_bytes = 77;
  s.validated = 120;
  s.best_loss = 5e-324;
  s.best_step = 90;
  s.seconds = 1.0 / 3;
  s.seconds_in_steps = 1e-9;
  return s;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE("train state: comes back bit for bit") {
  const TrainState s = some_state();
  const std::string text = train_state_text(s);
  const TrainState back = parse_train_state(text, "state");
  CHECK(train_state_text(back) == text);
  CHECK(back.step == s.step);
  CHECK(back.rng_key == s.rng_key);
  CHECK(back.rng_counter == s.rng_counter);
  CHECK(back.cursor == s.cursor);
  CHECK(std::bit_cast<uint64_t>(back.window_loss) == std::bit_cast<uint64_t>(s.window_loss));
  CHECK(std::bit_cast<uint64_t>(back.smoothed_loss) == std::bit_cast<uint64_t>(s.smoothed_loss));
  CHECK(std::bit_cast<uint64_t>(back.seconds) == std::bit_cast<uint64_t>(s.seconds));
  CHECK(back.best_loss == s.best_loss);
  CHECK(!back.finished);
  TrainState none = s;
  none.best_loss.reset();
  none.finished = true;
  CHECK(!parse_train_state(train_state_text(none), "state").best_loss.has_value());
  CHECK(parse_train_state(train_state_text(none), "state").finished);
  none.window_loss = NAN;
  CHECK_THROWS_WITH_AS(train_state_text(none), doctest::Contains("window.loss"), Error);
}

TEST_CASE("train state: what is not one is refused by key") {
  const std::string good = train_state_text(some_state());
  auto refused = [&](const std::string& text, const std::string& part) {
    const std::string message =
        user_error([&] { parse_train_state(text, "c.safetensors: state"); });
    CHECK(contains(message, "c.safetensors: state"));
    CHECK(contains(message, part));
  };
  refused("[]", "is an empty array, expected an object");
  refused("{}", "no key \"step\"");
  refused(replaced(good, "\"documents\"", "\"dokuments\""), "no key \"documents\"");
  refused(replaced(good, "{", "{\"stepp\":1,"), "unknown key \"stepp\" (did you mean \"step\"?)");
  refused(replaced(good, "\"documents\":999", "\"documents\":9.5"), "expected a whole number");
  refused(replaced(good, "\"documents\":999", "\"documents\":18446744073709551615"),
          "expected a whole number");
  refused(replaced(good, "\"documents\":999", "\"documents\":-1"), "expected at least 0");
  refused(replaced(good, "\"finished\":false", "\"finished\":0"), "expected true or false");
  refused(replaced(good, "\"cursor.count\":100", "\"cursor.count\":41"), "expected less than");
  tests::for_each_mutation(good, [](const std::string& text) { parse_train_state(text, "s"); });
}

TEST_CASE("model config: text and back; unknown, missing and impossible sizes are refused") {
  for (const std::string& name : VisionGptConfig::preset_names()) {
    const VisionGptConfig config = VisionGptConfig::preset(name);
    CHECK(config_text(parse_config(config_text(config), "m")) == config_text(config));
  }
  VisionGptConfig config;
  config.layers = 7;
  config.softcap = 0.1;
  config.weighted_norms = true;
  const VisionGptConfig back = parse_config(config_text(config), "m");
  CHECK(back.layers == 7);
  CHECK(back.softcap == 0.1);
  CHECK(back.weighted_norms);
  const std::string good = config_text(config);
  auto refused = [&](const std::string& text, const std::string& part) {
    CHECK(contains(user_error([&] { parse_config(text, "m.json"); }), part));
  };
  refused(replaced(good, "\"width\"", "\"widht\""), "m.json: no key \"width\"");
  refused(replaced(good, "{", "{\"head_dimm\":1,"), "did you mean \"head_dim\"?");
  refused(replaced(good, "\"layers\":7", "\"layers\":\"7\""), "\"layers\" is \"7\", expected");
  refused(replaced(good, "\"layers\":7", "\"layers\":0"), "expected a number above 0");
  refused(replaced(good, "\"layers\":7", "\"layers\":4611686018427387904"), "expected at most");
  refused(replaced(good, "\"vision.patch\":8", "\"vision.patch\":5"), "in m.json");
  tests::for_each_mutation(good, [](const std::string& text) { parse_config(text, "m"); });
}

TEST_CASE("tokenizer text: any change of any byte is read or refused") {
  tests::Scratch scratch;
  WordTokenizer tokenizer;
  tokenizer.train({"red box", "blue box"}, 1);
  tokenizer.save(scratch / "t.json");
  tests::for_each_mutation(io::read_file(scratch / "t.json"),
                           [](const std::string& text) { WordTokenizer::parse(text, "t"); });
}

TEST_CASE("checkpoint store: the newest few stay, and only after a new one is whole") {
  tests::Scratch scratch;
  const CheckpointStore store(scratch / "c", 2);
  CHECK(store.list().empty());
  auto steps = [&] {
    std::vector<int64_t> list;
    for (const auto& entry : store.list()) list.push_back(entry.step);
    return list;
  };
  auto write = [](const std::string& path) { io::write_file(path, "x"); };
  for (int64_t step : {10, 20, 30}) store.save(step, write);
  CHECK(steps() == std::vector<int64_t>{20, 30});
  CHECK_THROWS_AS(store.save(40, [](const std::string&) { fail_user("no space"); }), Error);
  CHECK(steps() == std::vector<int64_t>{20, 30});
  store.save_best(write);
  scratch.file("c/notes.txt", "mine");
  scratch.file("c/step-.safetensors", "mine");
  scratch.file("c/step-00000040.safetensors.tmp77", "half");
  scratch.file("c/best.safetensors.tmp1", "half");
  scratch.file("c/other.tmp1", "mine");
  store.remove_leftovers();
  CHECK(find_checkpoint(scratch / "c") == scratch / "c/step-00000030.safetensors");
  // A run that went back to 20 leaves 30 behind.
  CHECK(store.save(25, write) == scratch / "c/step-00000025.safetensors");
  CHECK(steps() == std::vector<int64_t>{20, 25});
  store.save(123456789, write);  // more digits than the name is padded to
  CHECK(steps() == std::vector<int64_t>{25, 123456789});
  store.clear();
  CHECK(steps().empty());
  int64_t left = std::distance(std::filesystem::directory_iterator(scratch / "c"), {});
  CHECK(left == 3);  // what is not ours
  CHECK(contains(user_error([&] { find_checkpoint(scratch / "c"); }), "holds no checkpoint"));
  CHECK(contains(user_error([&] { find_checkpoint(scratch / "none"); }), "no such checkpoint"));
  CHECK(contains(user_error([] { CheckpointStore("c", 0); }), "expected 1 or more"));
}
