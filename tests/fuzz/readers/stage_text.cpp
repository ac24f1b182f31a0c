// The text of every stage up to the plan, compiled on from there.
#include "../graph_fuzz.h"
#include "fusec/inspect.h"
#include "reader.h"

namespace fusec::fuzz {

std::vector<std::string> reader_seeds() {
  std::vector<std::string> out;
  for (uint64_t seed : {5, 6, 7, 8, 9, 11}) {
    Sample s = generate(seed);
    InspectOptions o;
    o.locations = seed % 2 == 0;
    o.texts = {Stage::graph, Stage::canonical, Stage::fused, Stage::scheduled, Stage::plan};
    for (const auto& [stage, text] : inspect(*s.graph, s.outputs, "seed", o).texts)
      out.push_back(text);
  }
  return out;
}

void read_bytes(std::string_view bytes) { (void)inspect_text(bytes, "bytes", {}); }

}  // namespace fusec::fuzz
