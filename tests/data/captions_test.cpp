// Captioned images from disk, the blank control, and the cursor's exact resume.
#include "fusec/data/captions.h"

#include <algorithm>
#include <numeric>

#include "fusec/io/documents.h"
#include "scratch.h"

using namespace fusec;
using io::Part;
using tests::contains;
using tests::user_error;

namespace {

io::Document captioned(const std::string& image, const std::string& caption) {
  return {{{"user", {{Part::Type::image, image}, {Part::Type::text, "What is this?"}}},
           {"assistant", {{Part::Type::text, caption}}}},
          caption + "-id", "things", "train"};
}

}  // namespace

TEST_CASE("load_captions: file order, padded and resized; blank keeps all but the pixels") {
  tests::Scratch scratch;
  std::vector<io::Document> documents;
  for (int i = 0; i < 7; ++i) {
    const std::string name = "p" + std::to_string(i) + ".png";
    io::write_png(scratch / name, io::solid(16, 8, static_cast<uint8_t>(10 * i), 0, 0));
    documents.push_back(captioned(name, "thing " + std::to_string(i)));
  }
  io::write_documents(scratch / "a.jsonl", documents);
  std::vector<data::CaptionedImage> items = data::load_captions(scratch / "a.jsonl", 4);
  REQUIRE(items.size() == 7);
  for (int i = 0; i < 7; ++i) {
    CHECK(items[i].caption == "thing " + std::to_string(i));
    CHECK(items[i].id == items[i].caption + "-id");
    CHECK(items[i].category == "things");
    REQUIRE(items[i].image.rgb.size() == 48);
    CHECK(items[i].image.rgb[0] == 255);                  // the padding above
    CHECK(items[i].image.rgb[3 * 4] == 10 * i);           // the second of four rows
  }
  std::vector<data::CaptionedImage> control = data::blank(items);
  for (int i = 0; i < 7; ++i) {
    CHECK(control[i].image == io::solid(4, 4, 255, 255, 255));
    CHECK(control[i].caption == items[i].caption);
  }
}

TEST_CASE("load_captions: errors name the first bad document, whichever thread meets it") {
  tests::Scratch scratch;
  io::write_png(scratch / "p.png", io::solid(2, 2, 0, 0, 0));
  std::vector<io::Document> documents(6, captioned("p.png", "a"));
  documents[4] = captioned("absent.png", "late");
  documents[3] = captioned("gone.png", "early");
  io::write_documents(scratch / "a.jsonl", documents);
  const std::string message = user_error([&] { data::load_captions(scratch / "a.jsonl", 4); });
  CHECK(contains(message, "gone.png"));
  CHECK(contains(message, "a.jsonl:4 (id \"early-id\")"));

  documents = {captioned("p.png", "a"), captioned("p.png", "b")};
  documents[1].messages[0].parts.push_back(documents[1].messages[0].parts[0]);
  io::write_documents(scratch / "two.jsonl", documents);
  CHECK(contains(user_error([&] { data::load_captions(scratch / "two.jsonl", 4); }), "2 images"));
  io::write_documents(scratch / "none.jsonl", {});
  CHECK(contains(user_error([&] { data::load_captions(scratch / "none.jsonl", 4); }),
                 "no documents"));
  CHECK(contains(user_error([&] { data::load_captions(scratch / "a.jsonl", 0); }), "size 0"));
}

TEST_CASE("cursor: each epoch is a permutation, epochs and seeds differ") {
  data::ShuffledCursor cursor(100, 5), other(100, 6);
  std::vector<int64_t> first = cursor.next(100), second = cursor.next(100);
  CHECK(first != second);
  CHECK(first != other.next(100));
  std::vector<int64_t> all(100);
  std::iota(all.begin(), all.end(), 0);
  for (std::vector<int64_t> epoch : {first, second}) {
    CHECK(epoch != all);
    std::sort(epoch.begin(), epoch.end());
    CHECK(epoch == all);
  }
  CHECK(cursor.state() == data::ShuffledCursor::State{2, 0});
}

TEST_CASE("cursor: resumed at any point, it gives the very same indices") {
  data::ShuffledCursor whole(7, 42);
  const std::vector<int64_t> expected = whole.next(40);
  for (int64_t stop = 0; stop <= 40; ++stop) {
    data::ShuffledCursor before(7, 42), after(7, 42);
    std::vector<int64_t> indices = before.next(stop);
    after.next(3);  // an unrelated earlier state must not matter
    after.set_state(before.state());
    const std::vector<int64_t> rest = after.next(40 - stop);
    indices.insert(indices.end(), rest.begin(), rest.end());
    CHECK(indices == expected);
    CHECK(after.state() == whole.state());
  }
}

TEST_CASE("cursor: one sample repeats; bad counts and states are refused") {
  data::ShuffledCursor cursor(1, 0);
  CHECK(cursor.next(3) == std::vector<int64_t>{0, 0, 0});
  CHECK(contains(user_error([] { data::ShuffledCursor(0, 0); }), "0 samples"));
  CHECK(contains(user_error([&] { cursor.set_state({0, 1}); }), "another data set"));
  CHECK(contains(user_error([&] { cursor.next(-1); }), "-1"));
}
