// The tokenizer's JSON file.
#include "fusec/models/tokenizer.h"

#include "reader.h"

namespace fusec::fuzz {

std::vector<std::string> reader_seeds() {
  return {written([](const std::string& path) {
    models::WordTokenizer t;
    t.train({"a red box", "a blue box: left", "rot \xc3\xa9t\xc3\xa9"}, 1);
    t.save(path);
  })};
}

void read_bytes(std::string_view bytes) {
  models::WordTokenizer t = models::WordTokenizer::parse(bytes, "bytes");
  (void)t.decode(t.encode("a red box, left"));
}

}  // namespace fusec::fuzz
