// Signals to a flag; see interrupt.h.
#include "interrupt.h"

#include <unistd.h>

#include <csignal>
#include <initializer_list>

namespace fusec::examples {
namespace {

volatile std::sig_atomic_t requested_signal = 0;

// Only what is safe in a handler. The handler is gone when it runs (SA_RESETHAND), so the next
// signal finds the default action.
void remember(int signal) {
  requested_signal = signal;
  constexpr char text[] = "\nfinishing this step and saving; once more ends the program at once\n";
  if (::write(STDERR_FILENO, text, sizeof text - 1) < 0) return;
}

void install(int signal, void (*handler)(int), int flags) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigaction(signal, &action, nullptr);
}

}  // namespace

InterruptGuard::InterruptGuard() {
  requested_signal = 0;
  for (int signal : {SIGINT, SIGTERM}) install(signal, remember, SA_RESTART | SA_RESETHAND);
}

InterruptGuard::~InterruptGuard() {
  for (int signal : {SIGINT, SIGTERM}) install(signal, SIG_DFL, 0);
}

bool InterruptGuard::requested() const { return requested_signal != 0; }

}  // namespace fusec::examples
