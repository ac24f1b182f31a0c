// The frame of a kernel's function and what the schedules share: parameters, the segment of a
// table, lanes, accumulators, stores.
#include "emit.h"

#include <algorithm>

namespace fusec::codegen_cuda {

using Kind = KernelOp::Kind;

std::string num(int64_t v) {
  bool small = v == static_cast<int32_t>(v);
  std::string digits = std::to_string(v) + (small ? "" : "ll");
  return v < 0 ? "(" + digits + ")" : digits;
}

Emitter::Emitter(const KernelProgram& kernel, LaunchForm form, bool comments)
    : k_(kernel), a_(analyse(kernel)), form_(form), comments_(comments), out_(comments) {
  for (size_t i = 0; i < k_.ops.size(); ++i)
    bases_.push_back("p" + std::to_string(k_.ops[i].access.param));
}

std::string Emitter::text() {
  signature();
  switch (k_.schedule.kind) {
    case ScheduleKind::flat: flat(); break;
    case ScheduleKind::rows: k_.walk_dims > 0 ? panels() : rows(); break;
    case ScheduleKind::columns: columns(); break;
    case ScheduleKind::flat_reduce: flat_reduce(); break;
  }
  out_.close();
  std::string head;
  if (comments_) {
    for (const std::string& origin : k_.origins) {
      std::string line = origin;
      for (char& c : line) c = c == '\n' || c == '\\' ? ' ' : c;
      head += "// " + line + "\n";
    }
  }
  std::string helpers = prelude_.text();
  return head + (helpers.empty() ? "" : helpers + "\n") + out_.str();
}

void Emitter::signature() {
  // Of panels there are two for each multiprocessor, and they have its registers.
  const int resident = k_.walk_dims > 0 ? std::max(1, 512 / block()) : 0;
  std::string bounds = "__launch_bounds__(" + std::to_string(block()) +
                       (resident > 0 ? ", " + std::to_string(resident) : "") + ")";
  out_.line("extern \"C\" __global__ void " + bounds);
  std::string params;
  if (form_ == LaunchForm::table) {
    params = "const unsigned long long* table, int segments, ";
  } else {
    for (size_t i = 0; i < k_.params.size(); ++i) {
      const KernelParam& p = k_.params[i];
      params += std::string(p.written ? "" : "const ") + storage_name(p.dtype) + "* p" +
                std::to_string(i) + ", ";
    }
    params += "long long n, ";
  }
  out_.open(entry_of(k_) + "(" + params + "const unsigned* skip)");
  out_.line("if (skip && *skip) return;");
  if (form_ == LaunchForm::table) segment_of_block();
}

// Rows of the table ascend by first block; of rows with the same one, the last has the blocks.
void Emitter::segment_of_block() {
  const std::string width = std::to_string(2 + k_.params.size());
  out_.line("int segment = 0;");
  out_.open("for (int end = segments; end - segment > 1;)");
  out_.line("const int middle = (segment + end) / 2;");
  out_.line("if (table[(long long)middle * " + width + "] <= blockIdx.x) segment = middle;");
  out_.line("else end = middle;");
  out_.close();
  out_.line("const unsigned long long* entry = table + (long long)segment * " + width + ";");
  out_.line("[[maybe_unused]] const long long block = blockIdx.x - (long long)entry[0];");
  const ScheduleKind kind = k_.schedule.kind;
  if (kind == ScheduleKind::flat || kind == ScheduleKind::flat_reduce)
    out_.line("const long long n = (long long)entry[1];");
  for (size_t i = 0; i < k_.params.size(); ++i) {
    const KernelParam& p = k_.params[i];
    std::string type = std::string(p.written ? "" : "const ") + storage_name(p.dtype) + "*";
    out_.line(type + " p" + std::to_string(i) + " = (" + type + ")entry[" + std::to_string(2 + i) +
              "];");
  }
}

void Emitter::hoist(Point& unit, int stage) {
  for (size_t i = 0; i < k_.ops.size(); ++i) {
    const OpFacts& f = a_.ops[i];
    const Kind kind = k_.ops[i].kind;
    if (!f.live || f.level != Level::unit || f.varies || f.stage > stage) continue;
    if (kind != Kind::store && kind != Kind::reduce) eval(static_cast<int>(i), unit);
  }
}

void Emitter::delinearise(const std::string& linear, int first, int count, Point& p) {
  // Numbers are not negative; unsigned division by a constant is the cheaper one.
  const std::string plain = "(" + index_type_ + ")";
  const std::string wide = index_type_ == "int" ? "unsigned" : "unsigned long long";
  std::string rest = linear;
  for (int d = first + count - 1; d >= first; --d) {
    const std::string name = "i" + std::to_string(d), type = "const " + index_type_ + " ";
    const std::string extent = std::to_string(std::max<int64_t>(k_.extents[d], 1)) + "u";
    p.index[d] = name;
    if (d == first) {
      out_.line(type + name + " = " + plain + "(" + rest + ");");
      continue;
    }
    const std::string left = "rest" + std::to_string(d), from = "(" + wide + ")(" + rest + ")";
    out_.line(type + name + " = " + plain + "(" + from + " % " + extent + ");");
    out_.line("const " + wide + " " + left + " = " + from + " / " + extent + ";");
    rest = left;
  }
}

void Emitter::open_lanes(Point& p) {
  p.lane = a_.lanes == 1 ? "0" : "j";
  if (a_.lanes == 1) {
    out_.open("");
  } else {
    out_.unroll();
    out_.open("for (int j = 0; j < " + std::to_string(a_.lanes) + "; ++j)");
  }
}

void Emitter::close_lanes() { out_.close(); }

void Emitter::accumulators(const Ops& reduces, const std::string& suffix) {
  for (int r : reduces) {
    const std::string name = "r" + std::to_string(r), start = neutral(k_.ops[r]);
    if (suffix.empty()) {
      out_.line(std::string(type_name(k_.ops[r].type)) + " " + name + " = " + start + ";");
      continue;
    }
    const std::string lanes = std::to_string(a_.lanes);
    out_.line(std::string(type_name(k_.ops[r].type)) + " " + name + "[" + lanes + "];");
    out_.unroll();
    out_.line("for (int j = 0; j < " + lanes + "; ++j) " + name + "[j] = " + start + ";");
  }
}

void Emitter::accumulate(const Ops& reduces, Point& p, const std::string& suffix) {
  for (int r : reduces) {
    const std::string value = eval(k_.ops[r].args[0], p);
    const std::string name = "r" + std::to_string(r) + suffix;
    out_.line(name + " = " + joined(k_.ops[r], name, value) + ";",
              std::string(name_of(k_.ops[r].reduce)));
  }
}

void Emitter::declare_stored(const Ops& stores) {
  for (int s : stores)
    out_.line(std::string(type_name(k_.ops[s].type)) + " y" + std::to_string(s) + "[" +
              std::to_string(a_.lanes) + "];");
}

void Emitter::stored_lanes(const Ops& stores, Point& p) {
  for (int s : stores)
    out_.line("y" + std::to_string(s) + "[" + p.lane + "] = " + eval(k_.ops[s].args[0], p) + ";");
}

std::string entry_of(const KernelProgram& kernel) {
  std::string s = kernel.name;
  size_t digits = s.size() > 1 && s[0] == 'k' ? s.find_first_not_of("0123456789", 1) : 0;
  if (digits != std::string::npos && digits > 1 && s[digits] == '_' && digits + 1 < s.size())
    s = s.substr(digits + 1);
  for (char& c : s) {
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!plain) c = '_';
  }
  // A prefix: a kernel called "exp" must not take the place of a function of the language.
  return "fusec_" + s;
}

}  // namespace fusec::codegen_cuda
