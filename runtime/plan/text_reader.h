// Shared by the two text readers (plans and kernels): a cursor over the text that hands out words,
// numbers and quoted strings, and turns every surprise into a user Error that says on which line
// it is, what was found and what was expected. Reads nothing outside the text it was given.
//
// Lexis: words [A-Za-z_][A-Za-z0-9_.]*, decimal numbers, "quoted \n text", punctuation. A comment
// runs from // to the end of its line and is skipped, except `// from "..."`, which is data (the
// origin of a kernel).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "fusec/base/tensor_type.h"
#include "fusec/plan/kernel_program.h"

namespace fusec::plan_text {

inline constexpr size_t kMaxRank = 63;

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  // Throws the syntax error at the cursor.
  [[noreturn]] void fail(const std::string& expected);
  // Throws a user Error on the current line for text that reads but makes no sense.
  [[noreturn]] void fail_meaning(const std::string& message) const;

  bool at_end();
  // The next character that is not blank or comment; 0 at the end.
  char peek();
  // Punctuation, taken only if it comes next.
  bool accept(std::string_view symbol);
  void expect(std::string_view symbol);
  bool accept_word(std::string_view word);
  void expect_word(std::string_view word);

  std::string word(const char* what);
  std::string quoted(const char* what);
  std::string name(const char* what);  // a word or a quoted string
  int64_t integer(const char* what);
  uint64_t magnitude(const char* what);  // no sign
  int small_integer(const char* what);  // fits int
  double number(const char* what);
  // A number as written, for those who must tell 1 from 1.0.
  std::string_view number_text(const char* what);
  std::string hex(const char* what);  // { 00ff... }, blanks allowed; as bytes
  DType dtype();
  Shape shape();  // [2, 3]; at most kMaxRank sizes, none negative, the product below 2^56
  bool accept_origin(std::string* origin);

 private:
  void skip();
  template <class T>
  T digits(const char* what, const char* range);
  bool at_origin() const;
  int line() const;

  std::string_view text_;
  size_t at_ = 0;
};

// Writers of the same lexis.
std::string quote(std::string_view text);
std::string name_text(std::string_view name);  // bare if it is a word, else quoted
std::string number_text(double value);         // shortest that reads back; never looks like an int

// The body shared by print(KernelProgram) and the kernels of a plan.
std::string print_kernel(const KernelProgram& kernel, const std::string& indent);
KernelProgram read_kernel(Reader& in);

}  // namespace fusec::plan_text
