// A plugin of nbdkit as a class. nbdkit calls it in the same order as a filter (filter.hpp), with
// nothing below it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/block/layer.hpp"
#include "common/metrics/registry.hpp"
#include "common/params/parameters.hpp"

struct nbdkit_plugin;

namespace nbdstack {

struct PluginInfo {
  const char* name;
  const char* longname;
  const char* version;
  const char* description;
  const char*
      magic_config_key;  // what a bare word on the command line is the value of; nullptr: nothing
};

class Plugin {
 public:
  Plugin() = default;
  Plugin(const Plugin&) = delete;
  Plugin& operator=(const Plugin&) = delete;
  virtual ~Plugin() = default;

  [[nodiscard]] virtual PluginInfo info() const = 0;
  virtual ParameterTable parameters() = 0;
  virtual void dump() const {}  // writes lines "key=value" to stdout for nbdkit --dump-plugin
  virtual void config_complete() {}
  virtual void get_ready() {}
  virtual void after_fork() {}
  virtual std::unique_ptr<Layer> open(bool readonly, const std::string& export_name) = 0;
  // Returns the exports for a client that lists them; "" is the default one.
  virtual std::vector<std::string> exports() { return {""}; }
  virtual void cleanup() {}
  // Called instead of cleanup() if the start has failed in some layer after get_ready(), and the
  // process ends. Requests of layers above may be under way.
  virtual void abandon() {}

 protected:
  // Returns the metrics of the plugin, as Filter::metrics_of_export() does for an export.
  [[nodiscard]] static Metrics metrics();
};

nbdkit_plugin* register_plugin(std::unique_ptr<Plugin> plugin);

}  // namespace nbdstack

#define NBDSTACK_REGISTER_PLUGIN(PluginClass)                                                 \
  extern "C" __attribute__((visibility("default"))) struct nbdkit_plugin* plugin_init(void) { \
    return nbdstack::register_plugin(std::make_unique<PluginClass>());                        \
  }
