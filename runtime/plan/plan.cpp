// Lookups in a Plan and its structural checks. verify() proves, from the data alone, that running
// the steps in order touches only memory that belongs to the named buffers and that no two live
// buffers of the arena share bytes. Refuses (internal Error, naming buffer or step and rule) what
// a device could only find out by corrupting memory.
#include "fusec/plan/plan.h"

#include <algorithm>
#include <bit>
#include <sstream>

#include "fusec/base/error.h"
#include "fusec/base/nearest.h"

namespace fusec {

std::string_view name_of(BufferClass c) {
  switch (c) {
    case BufferClass::input: return "input";
    case BufferClass::output: return "output";
    case BufferClass::temporary: return "temporary";
    case BufferClass::constant: return "constant";
    case BufferClass::parameter: return "parameter";
    case BufferClass::state: return "state";
  }
  return "?";
}

namespace {

template <class T>
const T& attribute(const LibraryCall& call, std::string_view key, const char* type) {
  auto it = call.attrs.find(std::string(key));
  if (it == call.attrs.end())
    fail_internal("library call " + call.name + ": attribute " + std::string(key) +
                  " is missing, expected " + type);
  const T* value = std::get_if<T>(&it->second);
  if (!value)
    fail_internal("library call " + call.name + ": attribute " + std::string(key) +
                  " has another type, expected " + type);
  return *value;
}

// The calls that every device knows. Attributes by type: space-separated integers, doubles, texts.
struct CallRule {
  const char *name, *integers, *doubles, *texts;
  size_t least, most;  // arguments
  unsigned written;    // bit i: argument i is written (and, for scatter, read)
};

constexpr CallRule kCallRules[] = {
    {"gemm", "m n k batch lda ldb ldc stride_a stride_b stride_c trans_a trans_b", "alpha beta",
     "type_a type_b type_c", 3, 6, 1 << 2},
    {"attention", "b t s h kv d causal docs", "scale softcap", "type", 5, 96, 3 << 3},
    {"attention_grad", "b t s h kv d causal docs", "scale softcap", "type", 9, 96, 7 << 6},
    {"paged_attention", "tokens b h kv d pages page_size max_pages window cu_q", "scale softcap",
     "type page_type", 6, 9, 1 << 5},
    {"gather", "rows count width", "", "type index_type", 3, 3, 1 << 2},
    {"scatter", "rows count width", "", "type index_type mode", 3, 3, 1 << 0},
    {"cumsum", "outer n inner reverse", "", "type", 2, 2, 1 << 1},
    {"top_k", "rows n k", "", "type", 3, 3, 3 << 1},
    {"copy", "bytes", "", "", 2, 2, 1 << 1},
    {"fill", "bytes", "", "", 1, 1, 1 << 0},
    {"guard", "", "", "type", 1, 1, 0},
};

template <class T>
std::string missing(const LibraryCall& call, const char* keys, const char* what) {
  std::istringstream words(keys);
  for (std::string key; words >> key;) {
    auto it = call.attrs.find(key);
    if (it == call.attrs.end() || !std::holds_alternative<T>(it->second))
      return call.name + ": expected " + what + " attribute \"" + key + "\", found " +
             (it == call.attrs.end() ? "none" : "another type");
  }
  return "";
}

struct LiveRange {
  int index;
  int64_t begin, end;  // bytes of the arena
  int first, last;     // steps, inclusive
};

class PlanVerifier {
 public:
  explicit PlanVerifier(const Plan& plan) : plan_(plan) {}

  void run() {
    for (size_t i = 0; i < plan_.buffers.size(); ++i) check_buffer(static_cast<int>(i));
    check_names();
    check_overlaps();
    for (const KernelProgram& k : plan_.kernels) fusec::verify(k);
    for (size_t s = 0; s < plan_.steps.size(); ++s) check_step(static_cast<int>(s));
  }

 private:
  static void need(bool holds, const std::string& subject, const std::string& rule) {
    if (!holds) fail_internal("plan: " + subject + ": broken rule: " + rule);
  }
  std::string buffer_name(int i) const {
    return "buffer b" + std::to_string(i) + " \"" + plan_.buffers[i].name + "\"";
  }

  // An input holds its value for the whole step, an output to its end, whatever first..last say.
  LiveRange range_of(int i) const {
    const PlanBuffer& b = plan_.buffers[i];
    int end = static_cast<int>(plan_.steps.size());
    return {i, b.offset, b.offset + reserved_bytes(b.type),
            b.cls == BufferClass::input ? 0 : b.first,
            b.cls == BufferClass::temporary ? b.last : std::max(end, b.last)};
  }

  void check_buffer(int i) const {
    const PlanBuffer& b = plan_.buffers[i];
    std::string who = buffer_name(i);
    for (int64_t d : b.type.shape) need(d >= 0, who, "sizes are not negative: " + b.type.str());
    need(b.cls == BufferClass::constant ? static_cast<int64_t>(b.data.size()) == b.type.bytes()
                                        : b.data.empty(),
         who,
         "constants, and no others, hold exactly type.bytes() of data; found " +
             std::to_string(b.data.size()) + " for " + b.type.str());
    if (is_persistent(b.cls)) return;
    need(b.offset >= 0 && b.offset % kArenaAlign == 0, who,
         "an arena offset is a multiple of " + std::to_string(kArenaAlign) + ", found " +
             std::to_string(b.offset));
    need(b.offset + reserved_bytes(b.type) <= plan_.arena_bytes, who,
         "it ends inside the arena of " + std::to_string(plan_.arena_bytes) + " bytes");
    need(b.first <= b.last, who, "first <= last");
  }

  void check_names() const {
    std::map<std::string_view, int> seen;
    for (size_t i = 0; i < plan_.buffers.size(); ++i) {
      const PlanBuffer& b = plan_.buffers[i];
      if (b.cls == BufferClass::temporary || b.cls == BufferClass::constant) continue;
      need(seen.emplace(b.name, static_cast<int>(i)).second, buffer_name(static_cast<int>(i)),
           "names of inputs, outputs, parameters and states are unique");
    }
  }

  // Two live buffers may share memory in one case only: the step that last reads one writes the
  // other at the same address (an in-place update).
  void check_overlaps() const {
    std::vector<LiveRange> ranges;
    for (size_t i = 0; i < plan_.buffers.size(); ++i)
      if (!is_persistent(plan_.buffers[i].cls)) ranges.push_back(range_of(static_cast<int>(i)));
    std::sort(ranges.begin(), ranges.end(),
              [](const LiveRange& a, const LiveRange& b) { return a.begin < b.begin; });
    for (size_t i = 0; i < ranges.size(); ++i)
      for (size_t j = i + 1; j < ranges.size() && ranges[j].begin < ranges[i].end; ++j) {
        const LiveRange& a = ranges[i];
        const LiveRange& b = ranges[j];
        bool together = a.first <= b.last && b.first <= a.last;
        bool in_place = a.begin == b.begin && (a.last == b.first || b.last == a.first);
        need(!together || in_place, buffer_name(a.index),
             "live buffers do not share arena bytes; it overlaps " + buffer_name(b.index));
      }
  }

  void check_ref(const BufferRef& ref, int step, const std::string& who) const {
    need(ref.buffer >= 0 && ref.buffer < static_cast<int>(plan_.buffers.size()), who,
         "an argument names a buffer, found b" + std::to_string(ref.buffer));
    const PlanBuffer& b = plan_.buffers[ref.buffer];
    need(ref.byte_offset >= 0 && ref.byte_offset <= b.type.bytes(), who,
         "a byte offset lies inside " + buffer_name(ref.buffer) + ", found " +
             std::to_string(ref.byte_offset));
    LiveRange r = range_of(ref.buffer);
    need(is_persistent(b.cls) || (r.first <= step && step <= r.last), who,
         buffer_name(ref.buffer) + " is live in steps that use it");
  }

  // Smallest and largest element that an access touches must lie in the buffer.
  void check_bounds(const KernelProgram& k, const KernelOp& op, const Segment& seg,
                    const std::string& who) const {
    const BufferRef& ref = seg.args[op.access.param];
    const PlanBuffer& b = plan_.buffers[ref.buffer];
    int64_t lo = op.access.offset, hi = lo;
    bool reduce = k.schedule.kind == ScheduleKind::flat_reduce;
    bool flat = reduce || k.schedule.kind == ScheduleKind::flat;
    if (reduce && op.kind == KernelOp::Kind::store) {
      hi += k.units(seg.n) - 1;
      if (k.units(seg.n) == 0) return;
    } else {
      for (size_t d = 0; d < k.extents.size(); ++d) {
        int64_t extent = flat ? seg.n : k.extents[d];
        if (extent == 0) return;  // nothing is touched
        (op.access.strides[d] < 0 ? lo : hi) += op.access.strides[d] * (extent - 1);
      }
    }
    int64_t size = size_of(op.type);
    need(ref.byte_offset + lo * size >= 0 && ref.byte_offset + (hi + 1) * size <= b.type.bytes(),
         who,
         "accesses stay inside " + buffer_name(ref.buffer) + " (" + b.type.str() +
             "), found elements " + std::to_string(lo) + ".." + std::to_string(hi) +
             " of parameter " + k.params[op.access.param].name);
  }

  void check_step(int s) const {
    const PlanStep& step = plan_.steps[s];
    std::string who = "step " + std::to_string(s);
    if (step.kernel < 0) return check_call(step.call, s, who);
    need(step.kernel < static_cast<int>(plan_.kernels.size()), who,
         "a step names a kernel, found " + std::to_string(step.kernel));
    const KernelProgram& k = plan_.kernels[step.kernel];
    who += " (" + k.name + ")";
    need(!step.segments.empty(), who, "a kernel step has a segment");
    for (const Segment& seg : step.segments) {
      need(seg.args.size() == k.params.size(), who,
           "one argument a parameter: expected " + std::to_string(k.params.size()) + ", found " +
               std::to_string(seg.args.size()));
      need(seg.n >= 0, who, "n is not negative");
      for (size_t i = 0; i < seg.args.size(); ++i) {
        check_ref(seg.args[i], s, who);
        need(!k.schedule.stream || seg.args[i].byte_offset % 64 == 0, who,
             "arguments of a kernel that streams are 64-byte aligned");
        const PlanBuffer& b = plan_.buffers[seg.args[i].buffer];
        need(!step.commit || !k.params[i].written || b.cls != BufferClass::output, who,
             "a step that may be skipped writes no output, found " +
                 buffer_name(seg.args[i].buffer));
        need(b.type.dtype == k.params[i].dtype, who,
             "parameter " + k.params[i].name + " and " + buffer_name(seg.args[i].buffer) +
                 " have one type");
      }
      for (const KernelOp& op : k.ops)
        if (op.kind == KernelOp::Kind::load || op.kind == KernelOp::Kind::store)
          check_bounds(k, op, seg, who);
    }
  }

  void check_call(const LibraryCall& call, int s, std::string who) const {
    who += ", call " + call.name;
    std::string wrong = what_is_wrong(call, call.args.size());
    need(wrong.empty(), who, wrong);
    for (const BufferRef& r : call.args) check_ref(r, s, who);
    if (call.name == "gemm") check_in_place(call, who);
  }

  // What a GEMM reads is not what it writes, but for an addend that is all of C.
  void check_in_place(const LibraryCall& call, const std::string& who) const {
    GemmEpilogue e = epilogue_of(call);
    if (!e.add) return;
    const BufferRef &c = call.args[2], &addend = call.args[e.addend_at()];
    if (c.buffer != addend.buffer) return;
    need(c.byte_offset == addend.byte_offset, who,
         "an addend in the memory of C lies where C does, found bytes " +
             std::to_string(addend.byte_offset) + " and " + std::to_string(c.byte_offset));
    for (size_t i = 0; i < call.args.size(); ++i)
      need(i == 2 || i == e.addend_at() || call.args[i].buffer != c.buffer, who,
           "a C that is accumulated in place is no other argument, found it as argument " +
               std::to_string(i));
  }

  const Plan& plan_;
};

struct EpilogueWord {
  const char* text;
  bool GemmEpilogue::*flag;
};
constexpr EpilogueWord kEpilogueWords[] = {
    {"add", &GemmEpilogue::add},       {"bias", &GemmEpilogue::bias},
    {"gelu", &GemmEpilogue::gelu},     {"aux", &GemmEpilogue::aux},
    {"dgelu", &GemmEpilogue::dgelu},   {"bgrad", &GemmEpilogue::bgrad},
    {"bgrada", &GemmEpilogue::bgrada}, {"bgradb", &GemmEpilogue::bgradb}};

// Whether there is such an epilogue.
bool parse_epilogue(std::string_view text, GemmEpilogue& out) {
  out = {};
  if (text == "none") return true;
  size_t next = 0;  // words come in order, each once
  for (bool more = true; more;) {
    size_t end = text.find('_');
    std::string_view word = text.substr(0, end);
    while (next < std::size(kEpilogueWords) && word != kEpilogueWords[next].text) ++next;
    if (next == std::size(kEpilogueWords)) return false;
    out.*kEpilogueWords[next++].flag = true;
    more = end != std::string_view::npos;
    if (more) text.remove_prefix(end + 1);
  }
  bool forward = out.bias || out.gelu, operand = out.bgrada || out.bgradb;
  return (out.gelu || !out.aux) && (out.dgelu || !out.bgrad) &&
         !(out.dgelu && (forward || out.add || operand)) && !(operand && forward) &&
         !(out.bgrada && out.bgradb);
}

std::string wrong_epilogue(const LibraryCall& call, size_t arguments) {
  auto it = call.attrs.find("epilogue");
  const std::string none = "none";
  const std::string* text = it == call.attrs.end() ? &none : std::get_if<std::string>(&it->second);
  GemmEpilogue e;
  if (!text || !parse_epilogue(*text, e))
    return "gemm: expected an epilogue of \"add\", \"bias\", \"gelu\", \"aux\", \"dgelu\", "
           "\"bgrad\", \"bgrada\", \"bgradb\" in this order, joined by \"_\", as GemmEpilogue has "
           "them; found " +
           (text ? "\"" + *text + "\"" : "another type");
  if (arguments != e.arguments())
    return "gemm: expected " + std::to_string(e.arguments()) + " arguments" +
           (e.any() ? " for epilogue \"" + *text + "\"" : "") + ", found " +
           std::to_string(arguments);
  if (e.any() && call.number("beta") != 0) return "gemm: expected beta 0 with an epilogue";
  if (e.any() && call.text("type_c") == "f64") return "gemm: expected no epilogue for f64";
  if (e.sums() && call.integer("batch") != 1)
    return "gemm: expected batch 1 for epilogue \"" + *text + "\"";
  return "";
}

}  // namespace

static bool is_attention(const LibraryCall& call) {
  return call.name == "attention" || call.name == "attention_grad";
}

// Attributes that may be absent, and the number of arguments, which follows from them.
static std::string what_is_wrong_with_attention(const LibraryCall& call, size_t arguments) {
  for (const char* key : {"top_left", "window", "prefix", "sinks", "captured", "captured_grads"}) {
    auto it = call.attrs.find(key);
    if (it == call.attrs.end()) continue;
    const auto* value = std::get_if<int64_t>(&it->second);
    if (!value || *value < 0)
      return call.name + ": expected attribute \"" + key + "\" to be an integer >= 0";
  }
  if (call.integer_or("captured", 0) > 60) return call.name + ": expected captured <= 60";
  size_t expected = attention_arguments(call).count;
  if (arguments != expected)
    return call.name + ": expected " + std::to_string(expected) + " arguments, found " +
           std::to_string(arguments);
  return "";
}

static std::string what_is_wrong_with_paged(const LibraryCall& call, size_t arguments) {
  size_t expected = paged_arguments(call).count;
  if (arguments == expected) return "";
  return call.name + ": expected " + std::to_string(expected) + " arguments, found " +
         std::to_string(arguments);
}

std::string GemmEpilogue::str() const {
  std::string out;
  for (const EpilogueWord& w : kEpilogueWords)
    if (this->*w.flag) out += (out.empty() ? "" : "_") + std::string(w.text);
  return out.empty() ? "none" : out;
}

GemmEpilogue epilogue_of(const LibraryCall& call) {
  GemmEpilogue out;
  if (call.attrs.count("epilogue") && !parse_epilogue(call.text("epilogue"), out))
    fail_internal("library call gemm: no epilogue \"" + call.text("epilogue") + "\"");
  return out;
}

std::string what_is_wrong(const LibraryCall& call, size_t arguments) {
  std::vector<std::string> known;
  for (const CallRule& rule : kCallRules) {
    known.push_back(rule.name);
    if (call.name != rule.name) continue;
    bool varies = call.name == "gemm";  // with the epilogue
    if (!varies && (arguments < rule.least || arguments > rule.most))
      return call.name + ": expected " + std::to_string(rule.least) +
             (rule.most > rule.least ? " or " + std::to_string(rule.most) : "") +
             " arguments, found " + std::to_string(arguments);
    std::string wrong = missing<int64_t>(call, rule.integers, "an integer");
    if (wrong.empty()) wrong = missing<double>(call, rule.doubles, "a double");
    if (wrong.empty()) wrong = missing<std::string>(call, rule.texts, "a text");
    if (wrong.empty() && is_attention(call)) wrong = what_is_wrong_with_attention(call, arguments);
    if (wrong.empty() && call.name == "paged_attention")
      wrong = what_is_wrong_with_paged(call, arguments);
    if (wrong.empty() && varies) wrong = wrong_epilogue(call, arguments);
    return wrong;
  }
  return "unknown library call \"" + call.name + "\"" + suggest(call.name, known);
}

bool writes_argument(const LibraryCall& call, size_t i) {
  if (is_attention(call)) {
    AttentionArguments a = attention_arguments(call);
    return i >= a.results && i < a.masks;
  }
  for (const CallRule& rule : kCallRules)
    if (call.name == rule.name) {
      if (rule.written >> i & 1) return true;
      if (call.name != "gemm") return false;
      GemmEpilogue e = epilogue_of(call);
      return (e.aux && i == e.aux_at()) || (e.sums() && i == e.sums_at());
    }
  return false;
}

bool reads_argument(const LibraryCall& call, size_t i) {
  return call.name == "scatter" || !writes_argument(call, i);
}

int64_t LibraryCall::integer(std::string_view key) const {
  return attribute<int64_t>(*this, key, "an integer");
}
double LibraryCall::number(std::string_view key) const {
  return attribute<double>(*this, key, "a double");
}
const std::string& LibraryCall::text(std::string_view key) const {
  return attribute<std::string>(*this, key, "a string");
}

std::vector<TensorType> captured_types(const LibraryCall& call) {
  std::vector<TensorType> out;
  if (call.integer_or("captured", 0) == 0) return out;
  std::istringstream text(call.text("captured_types"));
  for (std::string one; std::getline(text, one, ';');) {
    std::istringstream words(one);
    std::string name;
    words >> name;
    std::optional<DType> type = parse_dtype(name);
    if (!type) fail_internal(call.name + ": captured_types names no element type: " + one);
    out.push_back({{}, *type});
    for (int64_t n = 0; words >> n;) out.back().shape.push_back(n);
  }
  if (static_cast<int64_t>(out.size()) != call.integer("captured"))
    fail_internal(call.name + ": captured_types has not one type a captured tensor");
  return out;
}

AttentionArguments attention_arguments(const LibraryCall& call) {
  bool grad = call.name == "attention_grad", sinks = call.integer_or("sinks", 0) != 0;
  AttentionArguments a{grad ? 6u : 3u, grad ? 9u : 5u};
  if (grad)
    a.masks += sinks + std::popcount(static_cast<uint64_t>(call.integer_or("captured_grads", 0)));
  size_t next = a.masks;
  if (call.integer_or("docs", 0) > 0) a.cu_seqlens = next++;
  if (call.integer_or("prefix", 0) != 0) a.prefix = next++;
  if (sinks) a.sinks = next++;
  a.captured = next;
  a.count = next + static_cast<size_t>(call.integer_or("captured", 0));
  return a;
}

PagedArguments paged_arguments(const LibraryCall& call) {
  PagedArguments a;
  size_t next = 6;
  if (call.integer("cu_q") != 0) a.cu_q = next++;
  if (call.text("page_type") != call.text("type")) a.k_scale = next++, a.v_scale = next++;
  a.count = next;
  return a;
}

int64_t LibraryCall::integer_or(std::string_view key, int64_t otherwise) const {
  auto it = attrs.find(std::string(key));
  const auto* value = it == attrs.end() ? nullptr : std::get_if<int64_t>(&it->second);
  return value ? *value : otherwise;
}

int Plan::find(std::string_view name) const {
  for (size_t i = 0; i < buffers.size(); ++i) {
    BufferClass c = buffers[i].cls;
    if (c != BufferClass::temporary && c != BufferClass::constant && buffers[i].name == name)
      return static_cast<int>(i);
  }
  return -1;
}

int64_t Plan::persistent_bytes() const {
  int64_t total = 0;
  for (const PlanBuffer& b : buffers)
    if (is_persistent(b.cls)) total += reserved_bytes(b.type);
  return total;
}

void verify(const Plan& plan) { PlanVerifier(plan).run(); }

}  // namespace fusec
