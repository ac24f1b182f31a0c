// Plan text: parse, verify, and print again.
#include "fusec/plan/plan.h"
#include "plan_seeds.h"
#include "reader.h"

namespace fusec::fuzz {

std::vector<std::string> reader_seeds() { return {print(small_plan())}; }

void read_bytes(std::string_view bytes) {
  Plan plan = parse_plan(bytes);
  verify(plan);
  if (print(parse_plan(print(plan))) != print(plan)) throw 0;  // text that does not read back
}

}  // namespace fusec::fuzz
