// The helpers that a text uses, out of their tables.
#include "prelude.h"

#include <sstream>
#include <string_view>

#include "fusec/base/error.h"
#include "prelude_helpers.h"

namespace fusec::codegen_cuda {
namespace {

std::string spelled(std::string text) {
  constexpr std::string_view kQualifiers = "__device__ __forceinline__";
  for (size_t at = text.find('$'); at != std::string::npos; at = text.find('$', at))
    text.replace(at, 1, kQualifiers);
  return text;
}

template <class F>
void each_helper(F f) {
  for (std::span<const Helper> table : {memory_helpers(), math_helpers(), team_helpers()})
    for (const Helper& h : table) f(h);
}

}  // namespace

const std::string& Prelude::use(const std::string& name) {
  auto [it, fresh] = used_.insert(name);
  if (!fresh) return *it;
  bool known = false;
  each_helper([&](const Helper& h) {
    if (h.name != name) return;
    known = true;
    std::istringstream needs(h.needs);
    for (std::string needed; needs >> needed;) use(needed);
  });
  if (!known) fail_internal("the CUDA code generator has no helper called " + name);
  return *it;
}

std::string Prelude::text() const {
  std::string out;
  each_helper([&](const Helper& h) {
    if (used_.count(h.name)) out += spelled(h.text);
  });
  return out;
}

}  // namespace fusec::codegen_cuda
