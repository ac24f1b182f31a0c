// A profile as text: the table for people, JSON, and trace events.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdarg>
#include <cstdio>

#include "fusec/core/profile_report.h"

namespace fusec {
namespace {

[[gnu::format(printf, 2, 3)]] void append(std::string& out, const char* form, ...) {
  std::array<char, 512> text;
  va_list args;
  va_start(args, form);
  const int n = std::vsnprintf(text.data(), text.size(), form, args);
  va_end(args);
  out.append(text.data(), std::min<size_t>(static_cast<size_t>(std::max(0, n)), text.size() - 1));
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) < 0x20)
      append(out, "\\u%04x", static_cast<unsigned>(c));
    else
      out += c;
  }
  return out + '"';
}

// A JSON number; JSON has no infinity.
std::string number(double value) {
  std::string out;
  append(out, "%.9g", std::isfinite(value) ? value : 0.0);
  return out;
}

std::string integer(int64_t value) { return std::to_string(value); }

// {"a": 1, "b": "x"} from pairs of a key and a value that is JSON already.
using Fields = std::initializer_list<std::pair<const char*, std::string>>;
std::string object(Fields fields) {
  std::string out = "{";
  for (const auto& [key, value] : fields) {
    if (out.size() > 1) out += ", ";
    out += quoted(key) + ": " + value;
  }
  return out + "}";
}

// "12.3%" of a ceiling, "-" where none was measured or nothing was done.
std::string share_of(double rate, double ceiling) {
  if (ceiling <= 0 || rate <= 0) return "-";
  std::string out;
  append(out, "%.1f%%", 100 * rate / ceiling);
  return out;
}

void table_row(std::string& out, const ProfileReport& r, const ProfileRow& row,
               std::string_view group) {
  append(out, "%-44.44s %-9.9s %8d %9.3f %6.1f%% %9.1f %8.1f %7s %8.3f %7s\n", row.name.c_str(),
         std::string(group).c_str(), row.launches, 1e3 * row.seconds, 100 * r.share(row.seconds),
         1e-6 * static_cast<double>(row.bytes), 1e-9 * row.byte_rate(),
         share_of(row.byte_rate(), r.ceilings.copy_rate).c_str(), 1e-12 * row.flop_rate(),
         share_of(row.flop_rate(), r.ceilings.matmul_rate).c_str());
}

void table_head(std::string& out, const char* what, const char* group) {
  append(out, "%-44s %-9s %8s %9s %7s %9s %8s %7s %8s %7s\n", what, group, "launches", "ms",
         "share", "MB", "GB/s", "of copy", "TFLOP/s", "of mm");
}

std::string row_json(const ProfileReport& r, const ProfileRow& row) {
  return object({{"name", quoted(row.name)},
                 {"group", quoted(name_of(row.group))},
                 {"launches", integer(row.launches)},
                 {"ms", number(1e3 * row.seconds)},
                 {"share", number(r.share(row.seconds))},
                 {"bytes", integer(row.bytes)},
                 {"gb_s", number(1e-9 * row.byte_rate())},
                 {"flops", integer(row.flops)},
                 {"tflop_s", number(1e-12 * row.flop_rate())}});
}

std::string list(const std::vector<std::string>& items) {
  std::string out = "[";
  for (size_t i = 0; i < items.size(); ++i) out += (i ? ",\n  " : "\n  ") + items[i];
  return out + "]";
}

constexpr std::array<const char*, 4> kLanes = {"matrix products", "attention", "kernels",
                                               "other calls"};
int lane_of(const StepProfile& s) {
  if (!s.call) return 2;
  if (s.name == "gemm") return 0;
  return s.name.starts_with("attention") ? 1 : 3;
}

}  // namespace

std::string ProfileReport::table(size_t most) const {
  std::string out;
  const double kernel = kernel_seconds();
  append(out, "%s on %s\n", title.c_str(), device.c_str());
  append(out, "step %.3f ms; %zu launches take %.3f ms, %.3f ms (%.1f%%) in no kernel\n",
         1e3 * step_seconds, steps.size(), 1e3 * kernel, 1e3 * gap_seconds(),
         100 * share(gap_seconds()));
  if (!clock.empty()) out += "launches timed by " + clock + "\n";
  if (traced_gap >= 0)
    append(out, "from the first launch to the end of the last %.3f ms\n", 1e3 * whole_seconds());
  if (ceilings.copy_rate > 0)
    append(out, "measured here: copy %.1f GB/s", 1e-9 * ceilings.copy_rate);
  if (ceilings.matmul_rate > 0)
    append(out, "%s matrix product %.3f TFLOP/s (%s)",
           ceilings.copy_rate > 0 ? "," : "measured here:", 1e-12 * ceilings.matmul_rate,
           ceilings.precision.c_str());
  if (ceilings.copy_rate > 0 || ceilings.matmul_rate > 0) out += '\n';
  out += '\n';
  table_head(out, "part of the model", "");
  for (const ProfileRow& row : groups()) table_row(out, *this, row, "");
  out += '\n';
  table_head(out, "kernel or call", "part");
  const std::vector<ProfileRow> rows = kernels();
  ProfileRow rest{.name = "and " + std::to_string(rows.size() - std::min(most, rows.size())) +
                          " more"};
  for (size_t i = 0; i < rows.size(); ++i) {
    if (i < most) {
      table_row(out, *this, rows[i], name_of(rows[i].group));
      continue;
    }
    rest.launches += rows[i].launches;
    rest.seconds += rows[i].seconds;
    rest.bytes += rows[i].bytes;
    rest.flops += rows[i].flops;
  }
  if (rows.size() > most) table_row(out, *this, rest, "");
  return out;
}

std::string ProfileReport::json() const {
  std::vector<std::string> group_rows, kernel_rows, step_rows;
  for (const ProfileRow& row : groups()) group_rows.push_back(row_json(*this, row));
  for (const ProfileRow& row : kernels()) kernel_rows.push_back(row_json(*this, row));
  for (const StepProfile& s : steps)
    step_rows.push_back(object({{"step", integer(s.step)},
                                {"name", quoted(s.name)},
                                {"shape", quoted(s.shape)},
                                {"scope", quoted(s.scope)},
                                {"group", quoted(name_of(s.group))},
                                {"library_kernels", quoted(s.library_kernels)},
                                {"start_ms", number(1e3 * timeline[step_rows.size()].start)},
                                {"ms", number(1e3 * s.seconds)},
                                {"bytes", integer(s.bytes)},
                                {"flops", integer(s.flops)}}));
  return object({{"title", quoted(title)},
                 {"device", quoted(device)},
                 {"clock", quoted(clock)},
                 {"copy_gb_s", number(1e-9 * ceilings.copy_rate)},
                 {"matmul_tflop_s", number(1e-12 * ceilings.matmul_rate)},
                 {"matmul_precision", quoted(ceilings.precision)},
                 {"step_ms", number(1e3 * step_seconds)},
                 {"whole_ms", number(1e3 * whole_seconds())},
                 {"kernel_ms", number(1e3 * kernel_seconds())},
                 {"gap_ms", number(1e3 * gap_seconds())},
                 {"gap_share", number(share(gap_seconds()))},
                 {"groups", list(group_rows)},
                 {"kernels", list(kernel_rows)},
                 {"steps", list(step_rows)}}) +
         "\n";
}

std::string ProfileReport::trace() const {
  std::vector<std::string> events;
  for (size_t i = 0; i < kLanes.size(); ++i)
    events.push_back(object({{"name", quoted("thread_name")},
                             {"ph", quoted("M")},
                             {"pid", "1"},
                             {"tid", integer(static_cast<int64_t>(i) + 1)},
                             {"args", object({{"name", quoted(kLanes[i])}})}}));
  std::array<int64_t, kLanes.size()> free_from{};  // nanoseconds
  for (const StepProfile& s : timeline) {
    const int lane = lane_of(s);
    // Clocks round; whole nanoseconds from one end to the next start keep a lane in order.
    const int64_t start = std::max<int64_t>(free_from[lane], std::llround(1e9 * s.start));
    const int64_t length = std::max<int64_t>(0, std::llround(1e9 * s.seconds));
    free_from[lane] = start + length;
    auto microseconds = [](int64_t ns) {
      std::string text;
      append(text, "%lld.%03lld", static_cast<long long>(ns / 1000),
             static_cast<long long>(ns % 1000));
      return text;
    };
    events.push_back(
        object({{"name", quoted(s.shape.empty() ? s.name : s.name + " " + s.shape)},
                {"cat", quoted(name_of(s.group))},
                {"ph", quoted("X")},
                {"pid", "1"},
                {"tid", integer(lane + 1)},
                {"ts", microseconds(start)},
                {"dur", microseconds(length)},
                {"args", object({{"step", integer(s.step)},
                                 {"scope", quoted(s.scope)},
                                 {"library_kernels", quoted(s.library_kernels)},
                                 {"bytes", integer(s.bytes)},
                                 {"flops", integer(s.flops)}})}}));
  }
  return object({{"displayTimeUnit", quoted("ms")}, {"traceEvents", list(events)}}) + "\n";
}

}  // namespace fusec
