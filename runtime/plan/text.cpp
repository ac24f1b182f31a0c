// Plan <-> text.
//
//   plan "vision-gpt:tiny" {
//     arena 4096 of 9216
//     buffers {
//       b0 : input     "x"   f32[8, 16]  at 0     live 0..2
//       b1 : constant  "c0"  f32[2]  data { 0000803f000080bf }
//     }
//     kernel k00_add { ... }
//     steps {
//       0 : run 0  scope "trunk.0" bytes 1536 unfused 3072 flops 128  // k00_add
//           n 128 (b0, b2+512)  // x, y
//       1 : call gemm (b0, b1, b2) { alpha 1.0, m 8, type_a "f32" }  scope "head" ...
//     }
//   }
//
// `arena A of B`: arena bytes, and what temporaries would need without reuse. Attribute numbers
// with a point or exponent are doubles, those without are integers. Step comments repeat names for
// people and are skipped when read. Reading checks syntax and that references are in range;
// verify() checks the rest.
#include <algorithm>

#include "fusec/base/error.h"
#include "fusec/plan/plan.h"
#include "text_reader.h"

namespace fusec {

namespace {

using plan_text::name_text;
using plan_text::quote;
using plan_text::Reader;

std::string padded(std::string text, size_t width) {
  if (text.size() < width) text.resize(width, ' ');
  return text;
}

std::string data_text(const std::string& data) {
  constexpr size_t kRow = 32;  // bytes a line
  constexpr char digits[] = "0123456789abcdef";
  std::string out = "data {";
  for (size_t i = 0; i < data.size(); ++i) {
    if (i % kRow == 0) out += data.size() > kRow ? "\n      " : " ";
    auto byte = static_cast<unsigned char>(data[i]);
    out += digits[byte >> 4];
    out += digits[byte & 15];
  }
  return out + (data.size() > kRow ? "\n    }" : " }");
}

std::string refs_text(const std::vector<BufferRef>& args) {
  std::string out = "(";
  for (size_t i = 0; i < args.size(); ++i) {
    out += (i ? ", b" : "b") + std::to_string(args[i].buffer);
    if (args[i].byte_offset != 0) out += "+" + std::to_string(args[i].byte_offset);
  }
  return out + ")";
}

// "  // x, y": the names behind refs_text, bare so that a name holding quotes stays one comment.
std::string names_comment(const Plan& plan, const std::vector<BufferRef>& args) {
  std::string out;
  for (const BufferRef& ref : args) {
    bool known = ref.buffer >= 0 && ref.buffer < static_cast<int>(plan.buffers.size());
    out += (out.empty() ? "" : ", ") + (known ? name_text(plan.buffers[ref.buffer].name) : "?");
  }
  return out.empty() ? "" : "  // args " + out;
}

std::string attrs_text(const LibraryCall& call) {
  if (call.attrs.empty()) return "";
  std::string out;
  for (const auto& [key, value] : call.attrs) {
    out += (out.empty() ? " { " : ", ") + name_text(key) + " ";
    if (auto* i = std::get_if<int64_t>(&value)) out += std::to_string(*i);
    if (auto* d = std::get_if<double>(&value)) out += plan_text::number_text(*d);
    if (auto* s = std::get_if<std::string>(&value)) out += quote(*s);
  }
  return out + " }";
}

std::string cost_text(const PlanStep& step) {
  std::string out;
  if (!step.scope.empty()) out += "  scope " + quote(step.scope);
  if (step.bytes) out += "  bytes " + std::to_string(step.bytes);
  if (step.unfused_bytes) out += "  unfused " + std::to_string(step.unfused_bytes);
  if (step.flops) out += "  flops " + std::to_string(step.flops);
  return out;
}

std::string buffers_text(const Plan& plan) {
  size_t index_width = 0, name_width = 0, type_width = 0, offset_width = 0;
  for (size_t i = 0; i < plan.buffers.size(); ++i) {
    const PlanBuffer& b = plan.buffers[i];
    index_width = std::max(index_width, std::to_string(i).size() + 1);
    name_width = std::max(name_width, std::min<size_t>(quote(b.name).size(), 40));
    type_width = std::max(type_width, std::min<size_t>(b.type.str().size(), 30));
    offset_width = std::max(offset_width, std::to_string(b.offset).size());
  }
  std::string out = "  buffers {\n";
  for (size_t i = 0; i < plan.buffers.size(); ++i) {
    const PlanBuffer& b = plan.buffers[i];
    std::string row = "    " + padded("b" + std::to_string(i), index_width) + " : " +
                      padded(std::string(name_of(b.cls)), 9) + " " +
                      padded(quote(b.name), name_width) + " " +
                      padded(b.type.str(), type_width);
    if (b.offset != -1) row += " at " + padded(std::to_string(b.offset), offset_width);
    if (b.first != 0 || b.last != 0)
      row += " live " + std::to_string(b.first) + ".." + std::to_string(b.last);
    while (row.back() == ' ') row.pop_back();
    if (!b.data.empty()) row += " " + data_text(b.data);
    out += row + "\n";
  }
  return out + "  }\n";
}

std::string step_text(const Plan& plan, size_t i) {
  const PlanStep& step = plan.steps[i];
  std::string out = "    " + std::to_string(i) + " : ";
  if (step.kernel < 0)
    return out + "call " + name_text(step.call.name) + " " + refs_text(step.call.args) +
           attrs_text(step.call) + cost_text(step) + names_comment(plan, step.call.args) + "\n";
  bool known = step.kernel < static_cast<int>(plan.kernels.size());
  out += "run " + std::to_string(step.kernel) + cost_text(step) + "  // " +
         (known ? name_text(plan.kernels[step.kernel].name) : "?") + "\n";
  for (const Segment& seg : step.segments)
    out += "        n " + std::to_string(seg.n) + " " + refs_text(seg.args) +
           names_comment(plan, seg.args) + "\n";
  return out;
}

PlanBuffer read_buffer(Reader& in, size_t index) {
  PlanBuffer b;
  std::string label = "b" + std::to_string(index);
  if (!in.accept_word(label)) in.fail("\"" + label + "\" or \"}\"");
  in.expect(":");
  std::string cls = in.word("a buffer class");
  bool found = false;
  for (int c = 0; c <= static_cast<int>(BufferClass::state); ++c)
    if (name_of(static_cast<BufferClass>(c)) == cls) {
      b.cls = static_cast<BufferClass>(c);
      found = true;
    }
  if (!found)
    in.fail_meaning("found buffer class " + quote(cls) +
                    ", expected input, output, temporary, constant, parameter or state");
  b.name = in.quoted("the buffer's name, quoted");
  b.type.dtype = in.dtype();
  b.type.shape = in.shape();
  if (in.accept_word("at")) b.offset = in.integer("an arena offset");
  if (in.accept_word("live")) {
    b.first = in.small_integer("the first step");
    in.expect("..");
    b.last = in.small_integer("the last step");
  }
  if (in.accept_word("data")) b.data = in.hex("constant data");
  return b;
}

std::vector<BufferRef> read_refs(Reader& in, const Plan& plan) {
  std::vector<BufferRef> out;
  in.expect("(");
  if (in.accept(")")) return out;
  do {
    BufferRef ref;
    in.expect("b");
    ref.buffer = in.small_integer("a buffer number");
    if (ref.buffer < 0 || ref.buffer >= static_cast<int>(plan.buffers.size()))
      in.fail_meaning("buffer b" + std::to_string(ref.buffer) + " does not exist; there are " +
                      std::to_string(plan.buffers.size()));
    if (in.accept("+")) ref.byte_offset = in.integer("a byte offset");
    out.push_back(ref);
  } while (in.accept(","));
  in.expect(")");
  return out;
}

void read_attrs(Reader& in, LibraryCall* call) {
  if (!in.accept("{")) return;
  do {
    std::string key = in.name("an attribute");
    if (call->attrs.count(key)) in.fail_meaning("attribute " + quote(key) + " is given twice");
    if (in.peek() == '"') {
      call->attrs[key] = in.quoted("a value");
      continue;
    }
    const char* what = "a number or a quoted string";
    Reader before = in;
    std::string_view token = in.number_text(what);
    bool integer = token.find_first_not_of("-0123456789") == std::string_view::npos;
    in = before;
    if (integer) call->attrs[key] = in.integer(what);
    else call->attrs[key] = in.number(what);
  } while (in.accept(","));
  in.expect("}");
}

void read_cost(Reader& in, PlanStep* step) {
  if (in.accept_word("scope")) step->scope = in.quoted("a scope, quoted");
  if (in.accept_word("bytes")) step->bytes = in.integer("bytes moved");
  if (in.accept_word("unfused")) step->unfused_bytes = in.integer("bytes moved without fusion");
  if (in.accept_word("flops")) step->flops = in.integer("operations");
}

PlanStep read_step(Reader& in, const Plan& plan) {
  PlanStep step;
  int number = in.small_integer("the number of the step, or \"}\"");
  if (number != static_cast<int>(plan.steps.size()))
    in.fail_meaning("found step " + std::to_string(number) + ", expected " +
                    std::to_string(plan.steps.size()));
  in.expect(":");
  if (in.accept_word("call")) {
    step.call.name = in.name("the name of a library call");
    step.call.args = read_refs(in, plan);
    read_attrs(in, &step.call);
    read_cost(in, &step);
    return step;
  }
  if (!in.accept_word("run")) in.fail("\"run\" or \"call\"");
  step.kernel = in.small_integer("a kernel number");
  if (step.kernel < 0 || step.kernel >= static_cast<int>(plan.kernels.size()))
    in.fail_meaning("kernel " + std::to_string(step.kernel) + " does not exist; there are " +
                    std::to_string(plan.kernels.size()));
  read_cost(in, &step);
  while (in.accept_word("n")) {
    Segment seg;
    seg.n = in.integer("the length of the launch");
    seg.args = read_refs(in, plan);
    step.segments.push_back(std::move(seg));
  }
  return step;
}

}  // namespace

std::string print(const Plan& plan) {
  std::string out =
      "plan " + quote(plan.graph) + " version " + std::to_string(kPlanVersion) + " {\n";
  out += "  arena " + std::to_string(plan.arena_bytes) + " of " +
         std::to_string(plan.sum_of_temporaries) + "\n\n";
  out += buffers_text(plan) + "\n";
  for (const KernelProgram& k : plan.kernels) out += plan_text::print_kernel(k, "  ") + "\n";
  out += "  steps {\n";
  for (size_t i = 0; i < plan.steps.size(); ++i) out += step_text(plan, i);
  return out + "  }\n}\n";
}

Plan parse_plan(std::string_view text) {
  Reader in(text);
  Plan plan;
  in.expect_word("plan");
  plan.graph = in.quoted("the graph's name, quoted");
  int64_t version = in.accept_word("version") ? in.integer("the plan's version") : 1;
  if (version != kPlanVersion)
    in.fail_meaning("a plan of version " + std::to_string(version) + "; expected version " +
                    std::to_string(kPlanVersion) +
                    ": make it again from its model with this fusec");
  in.expect("{");
  in.expect_word("arena");
  plan.arena_bytes = in.integer("arena bytes");
  in.expect_word("of");
  plan.sum_of_temporaries = in.integer("bytes of all temporaries");
  in.expect_word("buffers");
  in.expect("{");
  while (!in.accept("}")) plan.buffers.push_back(read_buffer(in, plan.buffers.size()));
  while (in.peek() == 'k') plan.kernels.push_back(plan_text::read_kernel(in));
  in.expect_word("steps");
  in.expect("{");
  while (!in.accept("}")) plan.steps.push_back(read_step(in, plan));
  in.expect("}");
  if (!in.at_end()) in.fail("the end of the text");
  return plan;
}

}  // namespace fusec
