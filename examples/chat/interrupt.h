// Ctrl-C as a question that is asked between tokens.
#pragma once

namespace fusec::examples {

// While one lives, the first Ctrl-C is remembered instead of ending the program; a second one ends
// it at once. One at a time.
class AnswerInterrupt {
 public:
  AnswerInterrupt();
  ~AnswerInterrupt();  // Ctrl-C ends the program again
  AnswerInterrupt(const AnswerInterrupt&) = delete;
  AnswerInterrupt& operator=(const AnswerInterrupt&) = delete;

  bool requested() const;
};

}  // namespace fusec::examples
