// JSONL streams: by both policies, as two ranks, and again from a saved state.
#include "fusec/data/jsonl.h"

#include <stdexcept>
#include "reader.h"

namespace fusec::fuzz {
namespace {

using data::JsonlStream;

// Documents and drops of an epoch, with a restore in the middle of it.
int64_t count(const std::string& path, const data::JsonlOptions& options) {
  JsonlStream first({path}, options);
  for (int i = 0; i < 3; ++i) (void)first.next();
  JsonlStream second({path}, options);
  second.set_state(first.state());
  while (second.next()) {
  }
  const data::JsonlStatistics& s = second.statistics();
  return s.documents + s.dropped[0] + s.dropped[1] + s.dropped[2];
}

}  // namespace

std::vector<std::string> reader_seeds() {
  return {
      "{\"messages\": [{\"role\": \"user\", \"content\": \"caf\xc3\xa9 \\u00e9\"}]}\n\n[1, -2e3]"
      "\r\n\"text\"\nnull\n{\"a\": {\"b\": [true, 0.5]}}",
      "1\n2\n3\n4\n5\n6\n7\n", "\n\n \r\n{}\n"};
}

void read_bytes(std::string_view bytes) {
  const std::string& path = as_file(bytes);
  data::JsonlOptions options{.max_line_bytes = 100,
                             .max_depth = 6,
                             .bad_lines = data::BadLine::drop,
                             .shuffle = true,
                             .window_documents = 3};
  const int64_t all = count(path, options);
  options.world = 2;
  int64_t halves = count(path, options);
  options.rank = 1;
  halves += count(path, options);
  if (halves != all) throw std::logic_error("two ranks see other documents than one");
  JsonlStream strict({path}, {.max_line_bytes = 100, .max_depth = 6});
  while (strict.next()) {
  }
}

}  // namespace fusec::fuzz
