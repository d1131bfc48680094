// What differs between the versions of nbdkit that this project is written for, 1.30 to 1.48. A
// server loads a filter only if that was built with the headers of its own version, so each
// difference is decided when the filter is compiled, and by what the header declares: numbers would
// say nothing of a header with changes of a distribution's own.
//
//   1.36   a filter's `dump_plugin`: see set_dump_plugin()
//   1.44   a filter's `thread_model` is told the model of the layer below: filters here leave that
//          member out, and take the final model from `get_ready`
//   1.44   nbdkit-common.h declares extents, and nbdkit-filter.h includes it: no difference here
#pragma once

namespace nbdstack {

// Lets `nbdkit --dump-plugin` call `dump`, where this nbdkit asks filters. `Callbacks` is
// nbdkit_filter; a template, because only there may a member be named that does not exist.
template <typename Callbacks>
void set_dump_plugin(Callbacks& callbacks, void (*dump)()) {
  if constexpr (requires { callbacks.dump_plugin; }) callbacks.dump_plugin = dump;
}

}  // namespace nbdstack
