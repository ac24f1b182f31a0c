// Streams of JSON lines: what comes, where it stood, who sees it, and the same again after a
// resume.
#include "fusec/data/jsonl.h"

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "fusec/io/documents.h"
#include "scratch.h"

namespace fusec::data {
namespace {

using tests::contains;
using tests::Scratch;
using tests::user_error;

std::string record(int id, int bytes = 0) {
  return R"({"id": )" + std::to_string(id) + R"(, "t": ")" +
         std::string(static_cast<size_t>(bytes), 'x') + "\"}";
}

// The ids that are left in the epoch.
std::vector<int> rest(JsonlStream& stream) {
  std::vector<int> ids;
  while (std::optional<JsonlRecord> r = stream.next()) ids.push_back(r->value.at("id").get<int>());
  return ids;
}

// Shards of uneven sizes, with blank lines, both line ends, and one without a last break; ids count
// from 0.
int write_shards(const Scratch& folder, int shards) {
  int id = 0;
  std::mt19937 engine(7);
  for (int s = 0; s < shards; ++s) {
    std::string bytes;
    for (int i = 0, n = 3 + static_cast<int>(engine() % 20); i < n; ++i) {
      bytes += record(id++, static_cast<int>(engine() % 40));
      bytes += engine() % 4 == 0 ? "\r\n" : "\n";
      if (engine() % 5 == 0) bytes += engine() % 2 ? "\n" : "  \t\r\n";
    }
    if (s == 1) bytes += record(id++);
    if (s == 2) bytes += "\n\n \n";
    folder.file("shard" + std::to_string(10 + s) + ".jsonl", bytes);
  }
  folder.file("notes.txt", "not a shard");
  folder.file("empty.jsonl", "");
  return id;
}

TEST_CASE("records carry their values and places") {
  Scratch folder;
  const std::string path = folder.file("a.jsonl", "{\"id\": 1}\n\n [2, 3]\r\n\"four\"");
  JsonlStream stream({path}, {});
  std::optional<JsonlRecord> r = stream.next();
  CHECK(r->value.at("id") == 1);
  CHECK(r->place == path + ":1");
  r = stream.next();
  CHECK(r->value.at(1) == 3);
  CHECK(r->position == JsonlPosition{0, 11, 3});
  r = stream.next();
  CHECK(r->value == "four");
  CHECK(r->place == path + ":4");
  CHECK(!stream.next());
  CHECK(!stream.next());
  CHECK(stream.epoch() == 0);
  stream.next_epoch();
  CHECK(stream.epoch() == 1);
  CHECK(stream.next()->value.at("id") == 1);
  CHECK(stream.statistics().documents == 4);
  CHECK(stream.read_at({0, 11, 3}).value.at(0) == 2);
}

TEST_CASE("lines and blocks of any size are read whole") {
  Scratch folder;
  std::string bytes;
  std::vector<size_t> sizes;
  // Around one block of the reader, over several, and many in one.
  for (int i = -12; i <= 12; ++i) sizes.push_back(static_cast<size_t>((1 << 18) + i));
  for (size_t size : {1000000, 3, 500000, 1, 262144, 2}) sizes.push_back(size);
  for (size_t size : sizes) bytes += "\"" + std::string(size, 'y') + "\"\r\n";
  JsonlStream stream({folder.file("a.jsonl", bytes)}, {});
  for (size_t size : sizes) CHECK(stream.next()->value.get<std::string>().size() == size);
  CHECK(!stream.next());
}

TEST_CASE("a folder is its .jsonl files by name") {
  Scratch folder;
  const int count = write_shards(folder, 5);
  JsonlStream stream({folder / ""}, {});
  CHECK(stream.files().size() == 6);
  std::vector<int> expected(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) expected[static_cast<size_t>(i)] = i;
  CHECK(rest(stream) == expected);
}

TEST_CASE("each rank sees its documents, each document is seen once") {
  Scratch folder;
  const int count = write_shards(folder, 6);
  for (int world : {1, 2, 3, 4, 7, 200}) {
    for (bool shuffle : {false, true}) {
      for (uint64_t epoch = 0; epoch < 3; ++epoch) {
        CAPTURE(world);
        CAPTURE(shuffle);
        std::multiset<int> seen;
        size_t least = SIZE_MAX, most = 0;
        for (int rank = 0; rank < world; ++rank) {
          JsonlStream stream(
              {folder / ""},
              {.rank = rank, .world = world, .shuffle = shuffle, .seed = 3, .window_documents = 4});
          while (stream.epoch() < epoch) stream.next_epoch();
          const std::vector<int> ids = rest(stream);
          seen.insert(ids.begin(), ids.end());
          least = std::min(least, ids.size());
          most = std::max(most, ids.size());
        }
        CHECK(seen.size() == static_cast<size_t>(count));
        CHECK(std::set<int>(seen.begin(), seen.end()).size() == static_cast<size_t>(count));
        CHECK(most - least <= 1);
      }
    }
  }
}

TEST_CASE("shuffling is by seed and epoch, over shards and inside windows") {
  Scratch folder;
  const int count = write_shards(folder, 6);
  const auto order = [&](uint64_t seed, int epochs, int64_t window) {
    JsonlStream stream({folder / ""}, {.shuffle = true, .seed = seed, .window_documents = window});
    for (int i = 0; i < epochs; ++i) stream.next_epoch();
    return rest(stream);
  };
  CHECK(order(1, 0, 8) == order(1, 0, 8));
  CHECK(order(1, 0, 8) != order(1, 1, 8));
  CHECK(order(1, 0, 8) != order(2, 0, 8));
  // Windows of one: the shards change places, what they hold does not.
  const std::vector<int> shards = order(1, 0, 1);
  CHECK(!std::is_sorted(shards.begin(), shards.end()));
  int steps = 0;
  for (size_t i = 1; i < shards.size(); ++i) steps += shards[i] != shards[i - 1] + 1;
  CHECK(steps <= 5);
  // One window over all: every document may come first.
  std::set<int> first;
  for (uint64_t seed = 0; seed < 400; ++seed) first.insert(order(seed, 0, 1000).front());
  CHECK(static_cast<int>(first.size()) > count * 3 / 4);
  // A window's bytes bound it, too: it then is one document.
  JsonlStream small({folder / ""}, {.shuffle = true, .seed = 1, .window_bytes = 1});
  CHECK(rest(small) == shards);
}

TEST_CASE("a stream restored at any point goes on as the other would have") {
  Scratch folder;
  const int count = write_shards(folder, 4);
  for (const JsonlOptions& o :
       {JsonlOptions{}, JsonlOptions{.rank = 1, .world = 3},
        JsonlOptions{.rank = 1, .world = 2, .shuffle = true, .seed = 9, .window_documents = 5},
        JsonlOptions{.shuffle = true, .seed = 2, .window_documents = 1000},
        JsonlOptions{.shuffle = true, .seed = 2, .window_documents = 7, .window_bytes = 150}}) {
    JsonlStream whole({folder / ""}, o);
    std::vector<int> expected = rest(whole);
    whole.next_epoch();
    const size_t first_epoch = expected.size();
    for (int id : rest(whole)) expected.push_back(id);
    CHECK(first_epoch >= static_cast<size_t>(count / o.world));
    for (size_t at = 0; at <= expected.size(); ++at) {
      CAPTURE(at);
      JsonlStream stream({folder / ""}, o);
      std::vector<int> ids;
      auto read = [&](JsonlStream& from, size_t until) {
        while (ids.size() < until) {
          if (std::optional<JsonlRecord> r = from.next())
            ids.push_back(r->value.at("id").get<int>());
          else
            from.next_epoch();
        }
      };
      read(stream, at);
      const JsonlState saved = stream.state();
      JsonlStream other({folder / ""}, o);
      other.next_epoch();
      (void)other.next();
      other.set_state(saved);
      CHECK(other.state() == saved);
      read(other, expected.size());
      CHECK(ids == expected);
      CHECK(!other.next());
      CHECK(other.statistics().documents == static_cast<int64_t>(expected.size()));
      // The end of the epoch is a state, too.
      stream.set_state(other.state());
      CHECK(!stream.next());
    }
  }
}

std::string with_bad_lines() {
  return record(0) + "\n{\"id\": }\n" + record(1) + "\n{\"id\": \"\xc3\"}\n" + record(2, 300) +
         "\n" + record(3) + "\n{\"id\": 4, \"id\": 5}\n" + record(6);
}

TEST_CASE("bad lines are errors with file and line, and the stream goes on behind them") {
  Scratch folder;
  const std::string path = folder.file("a.jsonl", with_bad_lines());
  JsonlStream stream({path}, {.max_line_bytes = 200});
  const auto refusal = [&] { return user_error([&] { (void)stream.next(); }); };
  CHECK(stream.next()->value.at("id") == 0);
  std::string message = refusal();
  CHECK(contains(message, path + ":2: not JSON near column 8"));
  CHECK(stream.next()->value.at("id") == 1);
  message = refusal();
  CHECK(contains(message, path + ":4: byte 0xc3 at column 9 is not UTF-8"));
  message = refusal();
  CHECK(contains(message, path + ":5: the line is over the limit of 200 bytes"));
  CHECK(stream.next()->value.at("id") == 3);
  message = refusal();
  CHECK(contains(message, path + ":7: key \"id\" stands twice"));
  CHECK(rest(stream) == std::vector<int>{6});
}

TEST_CASE("or they are dropped and counted by reason, by the rank whose they are") {
  Scratch folder;
  const std::string path = folder.file("a.jsonl", with_bad_lines());
  JsonlOptions o{.max_line_bytes = 200, .bad_lines = BadLine::drop};
  JsonlStream stream({path}, o);
  CHECK(rest(stream) == std::vector<int>{0, 1, 3, 6});
  CHECK(stream.statistics().documents == 4);
  CHECK(stream.statistics().dropped == std::array<int64_t, 3>{1, 2, 1});
  CHECK(contains(stream.statistics().first_dropped, path + ":2: not JSON"));

  o.shuffle = true;
  o.window_documents = 3;
  o.world = 2;
  std::array<int64_t, 3> dropped = {};
  for (o.rank = 0; o.rank < 2; ++o.rank) {
    JsonlStream one({path}, o);
    (void)rest(one);
    // Nor does a resume count any of them twice.
    JsonlStream again({path}, o);
    while (true) {
      JsonlStream next({path}, o);
      next.set_state(again.state());
      const bool more = next.next().has_value();
      again.set_state(next.state());
      if (!more) break;
    }
    CHECK(again.statistics() == one.statistics());
    for (size_t i = 0; i < 3; ++i) dropped[i] += one.statistics().dropped[i];
  }
  CHECK(dropped == std::array<int64_t, 3>{1, 2, 1});
}

TEST_CASE("the limit of a line counts its bytes without the break") {
  Scratch folder;
  const std::string eight = "\"123456\"", nine = "\"1234567\"";
  for (const std::string& end : {std::string("\n"), std::string("\r\n"), std::string()}) {
    CAPTURE(end.size());
    JsonlStream fits({folder.file("a.jsonl", eight + end)}, {.max_line_bytes = 8});
    CHECK(fits.next()->value == "123456");
    JsonlStream over({folder.file("a.jsonl", nine + end)}, {.max_line_bytes = 8});
    CHECK(contains(user_error([&] { (void)over.next(); }), "over the limit of 8 bytes"));
    CHECK(!over.next());
  }
}

TEST_CASE("a document is read again where its record said it was") {
  Scratch folder;
  write_shards(folder, 4);
  JsonlStream stream({folder / ""}, {.shuffle = true, .seed = 4, .window_documents = 9});
  std::vector<JsonlRecord> all;
  while (std::optional<JsonlRecord> r = stream.next()) all.push_back(std::move(*r));
  for (const JsonlRecord& r : all) {
    const JsonlRecord again = stream.read_at(r.position);
    CHECK(again.value == r.value);
    CHECK(again.place == r.place);
  }
  const auto refusal = [&](JsonlPosition p) { return user_error([&] { stream.read_at(p); }); };
  const JsonlPosition first = all.front().position;
  CHECK(contains(refusal({99, 0, 1}), "another data set"));
  CHECK(contains(refusal({-1, 0, 1}), "another data set"));
  CHECK(contains(refusal({first.file, first.offset + 1, 1}), "damaged"));
  CHECK(contains(refusal({first.file, -5, 1}), "damaged"));
  CHECK(contains(refusal({first.file, int64_t{1} << 40, 1}), "damaged"));
}

TEST_CASE("a state of other options or files, or a damaged one, is refused") {
  Scratch folder;
  const std::string path = folder.file("a.jsonl", record(1) + "\n" + record(2) + "\n");
  JsonlStream stream({path}, {});
  (void)stream.next();
  const JsonlState good = stream.state();
  const auto restore = [&](auto change) {
    JsonlState state = good;
    change(state);
    std::string message = user_error([&] { stream.set_state(state); });
    CHECK(stream.state() == good);  // as if nothing had been tried
    return message;
  };
  CHECK(contains(restore([](JsonlState& s) { s.options.world = 2; }), "other options"));
  CHECK(contains(restore([](JsonlState& s) { s.files_digest ^= 1; }), "names or sizes"));
  CHECK(contains(restore([](JsonlState& s) { s.turn = 2; }), "damaged"));
  CHECK(contains(restore([](JsonlState& s) { s.offset = 3; }), "damaged"));
  CHECK(contains(restore([](JsonlState& s) { s.taken = 2; }), "damaged"));
  CHECK(contains(restore([](JsonlState& s) { s.line = 0; }), "damaged"));
  CHECK(stream.next()->value.at("id") == 2);
}

TEST_CASE("what is not there or makes no sense is refused") {
  Scratch folder;
  const std::string path = folder.file("a.jsonl", record(1));
  const auto open = [&](std::vector<std::string> paths, JsonlOptions o = {}) {
    return user_error([&] { JsonlStream stream(paths, o); });
  };
  CHECK(contains(open({}), "no path was given"));
  CHECK(contains(open({folder / "none.jsonl"}), "No such file"));
  CHECK(contains(open({"/dev/null"}), "no regular file"));
  CHECK(contains(
      open({path, folder / "../" +
                      std::filesystem::path(folder / "").parent_path().filename().string() +
                      "/a.jsonl"}),
      "also there as"));
  std::filesystem::create_directory(folder / "bare");
  CHECK(contains(open({folder / "bare"}), "holds no file *.jsonl"));
  CHECK(contains(open({path}, {.rank = 2, .world = 2}), "rank 2 of 2"));
  CHECK(contains(open({path}, {.world = 0}), "rank 0 of 0"));
  CHECK(contains(open({path}, {.max_line_bytes = 0}), "1 to 2^40"));
  CHECK(contains(open({path}, {.window_documents = 0}), "a window of 0"));
  JsonlStream stream({path}, {});
  folder.file("a.jsonl", record(1) + "\n" + record(2));
  CHECK(stream.next());
  CHECK(stream.next());
  CHECK(contains(user_error([&] { (void)stream.next(); }), "must not change while it is read"));
}

TEST_CASE("a chat document is read from a record") {
  Scratch folder;
  const std::vector<io::Document> documents = {
      {{{"user", {{io::Part::Type::image, "a.png"}, {io::Part::Type::text, "what?"}}},
        {"assistant", {{io::Part::Type::text, "a cat"}}}},
       "1",
       "",
       "train"}};
  io::write_documents(folder / "a.jsonl", documents);
  JsonlStream stream({folder / "a.jsonl"}, {});
  const std::optional<JsonlRecord> r = stream.next();
  CHECK(io::parse_document(r->value, r->place) == documents[0]);
  CHECK(contains(user_error([&] { io::parse_document("x", "a.jsonl:3"); }),
                 "a.jsonl:3: a string; expected a document"));
}

}  // namespace
}  // namespace fusec::data
