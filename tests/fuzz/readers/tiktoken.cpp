// A tiktoken file.
#include "fusec/models/bpe_tokenizer.h"
#include "reader.h"

namespace fusec::fuzz {

namespace {

models::BpeTokenizer read(std::string_view bytes) {
  models::AddedToken end;
  end.id = 400, end.text = "<|end|>";
  return models::BpeTokenizer::parse_tiktoken(bytes, "bytes", models::PreTokenizer::named("cl100k"),
                                              {end});
}

}  // namespace

std::vector<std::string> reader_seeds() {
  return {"IQ== 0\nIg== 1\nYQ== 2\nYg== 3\nYWI= 4\nIGFi 6\nIA== 5\n",
          "dGhl 7\r\nIHRoZQ== 9\r\ndA== 0\r\naA== 1\r\nZQ== 2\r\nIA== 3\r\nww== 4\r\nqQ== 5\r\n"};
}

void read_bytes(std::string_view bytes) {
  const models::BpeTokenizer tokenizer = read(bytes);
  (void)tokenizer.decode(tokenizer.encode_with_specials("the abab! <|end|>\xff \u00e9"));
  if (models::BpeTokenizer::parse(tokenizer.json(), "written").hash() != tokenizer.hash()) throw 0;
}

}  // namespace fusec::fuzz
