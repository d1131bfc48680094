// The start of a server, across nbdkit's forks, and the part of our layers in it.
//
// nbdkit's own processes, from the end of get_ready() on:
//
//   options   the process P that was started             its child S
//   -f        serves                                     there is none
//   (none)    exits with status 0 as soon as S exists    serves, its stderr is /dev/null
//   --run     runs the command, holds the listening      serves
//             socket open, exits with its status
//
// If the start fails after that, by an exit() in any layer, nbdkit does not do three things:
//  - It reports nothing: P has reported success by then. So P's last act is to wait until S serves
//    or has ended; then P reports the reason, and exits with status 1.
//  - The command of --run waits for ever for a server that does not exist, at the socket that P
//    holds open. So S closes these clients' connections before it ends.
//  - It calls neither cleanup() nor unload(). So `give_back` may release what a layer has acquired
//    in get_ready() (a lease). It is called once, by P before a fork, by S after it.
//
//   state      from                       an exit() here
//   idle       the beginning              does nothing: get_ready() undoes its own work
//   ready      arm()                      in the responsible process: gives back, rejects clients
//              a fork, in P               waits for S
//   serving    after_fork() succeeded     gives back, rejects clients: another layer's failed
//   ended      cleanup()                  does nothing
//
// systemd is told that the service is ready (Type=notify) when the first layer's after_fork() has
// succeeded: nothing but the start of threads is left of the other layers'.
//
// Each shared library has one object of this class, which lives as long as the library.
#pragma once

#include <exception>
#include <functional>
#include <string>

namespace nbdstack {

class ServerStart {
 public:
  // Called at the end of get_ready(). `give_back` does not throw, and does not assume that there
  // are no threads: the server may have served already.
  static void arm(void (*give_back)());

  // Runs the layer's after_fork(), and reports its end to P; its exceptions propagate.
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

  // Called in cleanup().
  static void end();

 private:
  static void report_success();
  static void report_failure(const std::string& reason);
};

}  // namespace nbdstack
