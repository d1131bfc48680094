// Handles the differences of the nbdkit versions that this project is written for, 1.30 to 1.48. A
// server loads a filter only if that was built with the headers of its own version, so each
// difference is decided at compile time, and by the header's declarations: a version number would
// not tell a distribution's own changes.
//
//   1.36   a filter's `dump_plugin`: see set_dump_plugin()
//   1.44   a filter's `thread_model` gets the model of the layer below: filters here leave it out,
//          and take the final model from `get_ready`
//   1.44   nbdkit-common.h declares extents, and nbdkit-filter.h includes it: no difference here
#pragma once

namespace nbdstack {

// Makes `nbdkit --dump-plugin` call `dump`, if this nbdkit supports that for filters. `Callbacks`
// is nbdkit_filter; a template parameter, because only a template may name a missing member.
template <typename Callbacks>
void set_dump_plugin(Callbacks& callbacks, void (*dump)()) {
  if constexpr (requires { callbacks.dump_plugin; }) callbacks.dump_plugin = dump;
}

}  // namespace nbdstack
