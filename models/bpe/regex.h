// A Unicode regular expression as tokenizers write them, compiled by PCRE2 to machine code.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace fusec::models::bpe {

struct Match {
  size_t begin = 0, end = 0;
};

class Regex {
 public:
  // What a thread needs to search: one at a time may use it.
  class Scratch {
   public:
    Scratch();
    ~Scratch();
    Scratch(Scratch&&) noexcept;
    Scratch& operator=(Scratch&&) noexcept;

   private:
    friend class Regex;
    struct State;
    std::unique_ptr<State> state_;
  };

  // A `literal` pattern is the text itself. One that does not compile is a user Error, one that
  // means something else to PCRE2 an unsupported one; `place` begins the message.
  Regex(std::string_view pattern, bool literal, const std::string& place);
  ~Regex();
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;

  // The first match at or behind `from`. Requires UTF-8. A pattern that needs more steps or memory
  // than is sensible for this text is a user Error.
  bool find(std::string_view text, size_t from, Scratch& scratch, Match& match) const;

 private:
  struct Code;
  std::unique_ptr<Code> code_;
};

}  // namespace fusec::models::bpe
