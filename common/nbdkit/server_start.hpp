// The start of a server, across nbdkit's forks, as one of our layers takes part in it.
//
// nbdkit's own processes, from the end of get_ready() on:
//
//   options   the process P that was started             its child S
//   -f        serves                                     there is none
//   (none)    exits with status 0 as soon as S is there  serves, its stderr is /dev/null
//   --run     runs the command, holds the listening      serves
//             socket open, exits with its status
//
// What nbdkit does not do where the start fails after that, by an exit() in any layer:
//   - it tells nobody: P has reported success by then. So P's last act is to wait until S serves, or
//     has ended; then P says why, and exits with status 1;
//   - the command of --run waits for ever for a server that is not there, at the socket that P holds
//     open. So S sends these clients away before it ends;
//   - it calls neither cleanup() nor unload(). So what a layer has taken in get_ready() (a lease) it
//     may give back in `give_back`, which is called once, by the process that is responsible: P
//     before a fork, S after it.
//
//   state      from                       an exit() here
//   idle       the beginning              does nothing: get_ready() undoes itself what it did
//   ready      arm()                      of who is responsible: gives back, sends clients away
//              a fork, in P               waits for S
//   serving    after_fork() succeeded     gives back, sends clients away: another layer's failed
//   ended      cleanup()                  does nothing
//
// One object of this class in each shared library; it lives as long as the library.
#pragma once

#include <exception>
#include <functional>
#include <string>

namespace nbdstack {

class ServerStart {
 public:
  // At the end of get_ready(). `give_back` does not throw, and does not rely on there being no
  // threads: the server may have served already.
  static void arm(void (*give_back)());

  // Runs the layer's after_fork(), and tells P how it ended; throws what it throws.
  template <typename Body>
  static void run(const Body& after_fork) {
    try {
      after_fork();
    } catch (const std::exception& error) {
      report_failure(error.what());
      throw;
    }
    report_success();
  }

  // In cleanup().
  static void end();

 private:
  static void report_success();
  static void report_failure(const std::string& reason);
};

}  // namespace nbdstack
