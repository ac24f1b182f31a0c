// SIGINT to a flag; see interrupt.h.
#include "interrupt.h"

#include <csignal>

namespace fusec::examples {
namespace {

volatile std::sig_atomic_t interrupted = 0;

// The handler is gone when it runs (SA_RESETHAND), so the next signal finds the default action.
void remember(int) { interrupted = 1; }

void install(void (*handler)(int), int flags) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigaction(SIGINT, &action, nullptr);
}

}  // namespace

AnswerInterrupt::AnswerInterrupt() {
  interrupted = 0;
  install(remember, SA_RESTART | SA_RESETHAND);
}

AnswerInterrupt::~AnswerInterrupt() { install(SIG_DFL, 0); }

bool AnswerInterrupt::requested() const { return interrupted != 0; }

}  // namespace fusec::examples
