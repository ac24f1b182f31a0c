// A stream of shards into a packer, as a training run has it: stopped between any two packs, both
// states and the places of the waiting documents are enough to go on with the same packs.
#include <algorithm>
#include <map>

#include "fusec/data/jsonl.h"
#include "fusec/data/packer.h"
#include "scratch.h"

namespace fusec::data {
namespace {

using tests::Scratch;

struct Saved {
  JsonlState stream;
  PackerState packer;  // without payloads
  std::map<uint64_t, JsonlPosition> places;
};

// A document is {"text": "..."}, one token a byte; "#" begins a span of four.
class Pipeline {
 public:
  explicit Pipeline(const std::string& folder)
      : stream_({folder},
                {.rank = 1, .world = 2, .shuffle = true, .seed = 6, .window_documents = 10}),
        packer_({.capacity = 48, .max_documents = 6, .max_spans = 3, .buffer_documents = 12}) {}

  // The texts of the next pack, and where they lie.
  std::string next() {
    std::optional<Pack> pack;
    while (!(pack = packer_.next())) {
      if (std::optional<JsonlRecord> r = stream_.next())
        add(*r);
      else
        stream_.next_epoch();
    }
    std::string out;
    for (const PackPiece& piece : pack->pieces) {
      const auto& text = *static_cast<const std::string*>(piece.payload.get());
      out += std::to_string(piece.at) + ":" +
             text.substr(static_cast<size_t>(piece.begin), static_cast<size_t>(piece.tokens)) + "|";
      for (const PackSpan& span : piece.spans) {
        CHECK(text.substr(static_cast<size_t>(piece.begin + span.begin), 4) == "#img");
      }
    }
    return out;
  }

  Saved save() const {
    Saved saved{stream_.state(), packer_.state(), {}};
    for (PackPiece& piece : saved.packer.waiting) {
      piece.payload = nullptr;
      saved.places[piece.id] = places_.at(piece.id);
    }
    return saved;
  }

  void restore(Saved saved) {
    stream_.set_state(saved.stream);
    for (PackPiece& piece : saved.packer.waiting)
      piece.payload = text_of(stream_.read_at(saved.places.at(piece.id)));
    places_ = saved.places;
    packer_.set_state(std::move(saved.packer));
  }

 private:
  static std::shared_ptr<const std::string> text_of(const JsonlRecord& r) {
    return std::make_shared<const std::string>(r.value.at("text").get<std::string>());
  }

  void add(const JsonlRecord& r) {
    std::shared_ptr<const std::string> text = text_of(r);
    PackDocument document{static_cast<uint64_t>(packer_.statistics().documents_in),
                          static_cast<int64_t>(text->size()),
                          {},
                          text};
    for (size_t at = text->find('#'); at != std::string::npos; at = text->find('#', at + 1))
      document.spans.push_back({static_cast<int64_t>(at), 4});
    places_[document.id] = r.position;
    packer_.add(std::move(document));
  }

  JsonlStream stream_;
  Packer packer_;
  std::map<uint64_t, JsonlPosition> places_;
};

TEST_CASE("stream and packer go on together after a stop between any two packs") {
  Scratch folder;
  for (int shard = 0; shard < 3; ++shard) {
    std::string bytes;
    for (int i = 0; i < 40; ++i) {
      std::string text = std::to_string(shard) + "." + std::to_string(i) + ":";
      for (int k = 0; k < (i * 7 + shard) % 9; ++k) text += k % 3 == shard ? "#img" : "words ";
      if (i % 13 == 5) text += text + text;
      bytes += "{\"text\": \"" + text + "\"}\n";
    }
    folder.file(std::to_string(shard) + ".jsonl", bytes);
  }
  constexpr int kPacks = 90;  // more than an epoch
  std::vector<std::string> expected;
  std::vector<Saved> states;
  Pipeline whole(folder / "");
  for (int i = 0; i < kPacks; ++i) {
    states.push_back(whole.save());
    expected.push_back(whole.next());
  }
  CHECK(states.back().stream.epoch >= 1);
  for (int at = 0; at < kPacks; ++at) {
    CAPTURE(at);
    Pipeline resumed(folder / "");
    resumed.restore(states[static_cast<size_t>(at)]);
    for (int i = at; i < std::min(at + 25, kPacks); ++i)
      CHECK(resumed.next() == expected[static_cast<size_t>(i)]);
  }
}

}  // namespace
}  // namespace fusec::data
