// JSONL documents.
#include "fusec/io/documents.h"

#include "reader.h"

namespace fusec::fuzz {

std::vector<std::string> reader_seeds() {
  return {written([](const std::string& path) { io::write_documents(path, {}); }),
          "{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"image\", \"path\": "
          "\"a.png\"}, {\"type\": \"text\", \"text\": \"what is \\u00e9 \\ud83d\\ude00?\"}]}, "
          "{\"role\": \"assistant\", \"content\": [{\"type\": \"text\", \"text\": \"a cat\"}]}], "
          "\"id\": \"1\", \"category\": \"c\", \"subset\": \"train\"}\n",
          "{\"messages\": [{\"role\": \"assistant\", \"content\": [{\"type\": \"tool\", \"text\": "
          "\"{\\\"name\\\": \\\"count\\\"}\"}]}, {\"role\": \"tool\", \"content\": [{\"type\": "
          "\"tool\", \"text\": \"12\"}, {\"type\": \"image\", \"path\": \"b.png\"}]}]}\n"};
}

void read_bytes(std::string_view bytes) { (void)io::parse_documents(bytes, "bytes"); }

}  // namespace fusec::fuzz
