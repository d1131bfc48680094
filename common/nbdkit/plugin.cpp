#include "common/nbdkit/plugin.hpp"

#define NBDKIT_API_VERSION 2
#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL
#include <nbdkit-plugin.h>

#include <string>
#include <utility>

#include "common/nbdkit/conversions.hpp"
#include "common/nbdkit/description_texts.hpp"
#include "common/nbdkit/guard.hpp"
#include "common/nbdkit/layer_metrics.hpp"
#include "common/nbdkit/request_meters.hpp"
#include "common/nbdkit/server_start.hpp"
#include "common/nbdkit/this_server.hpp"
#include "common/params/known_parameters.hpp"

namespace nbdstack {
namespace {

struct Registration {
  explicit Registration(const char* name) : metrics(name) {}

  LayerMetrics metrics;  // outlives all that counts
  std::unique_ptr<Plugin> plugin;
  ParameterTable parameters;
  std::string help;
  RequestFaults faults;
  nbdkit_plugin callbacks{};
};
Registration* registered = nullptr;

// One client's connection.
struct Client {
  Client(std::unique_ptr<Layer> of, bool comes, const std::string& export_name)
      : layer(std::move(of)),
        has_come(comes),
        meters(registered->metrics.of_export(export_name), RequestMeter::Measures::each),
        counted(meters.connections) {}

  const std::unique_ptr<Layer> layer;
  const bool has_come;  // false if a filter opens it, for no client
  const RequestMeters meters;
  const ConnectionMeter counted;
  DescriptionTexts descriptions{this_server()};
};

Layer& layer_of(void* handle) {
  return *static_cast<Client*>(handle)->layer;
}
const RequestMeters& meters_of(void* handle) {
  return static_cast<Client*>(handle)->meters;
}

// A plugin's errno is passed in errno and in nbdkit's own place: the latter is lost in threads that
// nbdkit does not know, such as those with which a filter above writes many blocks at once.
int answer_of(int failure) {
  if (failure == 0) return 0;
  const int code = errno_for_client(failure);
  nbdkit_set_error(code);
  errno = code;
  return -1;
}

template <typename Body>
int answered(Body&& body) {
  return answer_of(guarded(body));
}

template <typename Body>
int request(const RequestMeter& meter, std::uint64_t bytes, Fault& fault, Body&& body) {
  return answer_of(meter.measured(bytes, [&] { return guarded_request(fault, body); }));
}

// --- Once per server ---

void unload() {
  delete registered;
  registered = nullptr;
}

int config(const char* key, const char* value) {
  return answered([&] {
    if (registered->parameters.set(key, value)) return;
    throw Error(EINVAL,
                unknown_parameter_text(key, registered->plugin->info().name, kKnownParameters));
  });
}

int config_complete() {
  return answered([] { registered->plugin->config_complete(); });
}
void give_back() {
  if (registered != nullptr) guarded([] { registered->plugin->abandon(); });
}
int get_ready() {
  return answered([] {
    registered->metrics.get_ready();
    registered->plugin->get_ready();
    ServerStart::arm(give_back);
  });
}
int after_fork() {
  return answered([] {
    ServerStart::run([] { registered->plugin->after_fork(); });
    registered->metrics.after_fork();
  });
}
void cleanup() {
  ServerStart::end();
  guarded([] { registered->plugin->cleanup(); });
  registered->faults.end();
  registered->metrics.cleanup();
}
void dump_plugin() {
  guarded([] { registered->plugin->dump(); });
}

// --- Once per client ---

// True while this thread serves a client that opens an export. A filter above may open a plugin for
// no client; reading the export's name then logs an error, though nothing is wrong. A client may
// open several exports, one after the other, before it chooses one: it is expected again if the
// open before has failed, or its export is closed.
thread_local bool client_comes = false;

int preconnect(int /*readonly*/) {
  client_comes = true;
  return 0;
}

void* open(int readonly) {
  std::unique_ptr<Client> client;
  const bool comes = std::exchange(client_comes, false);
  const char* const name = comes ? nbdkit_export_name() : nullptr;
  const int code = answered([&] {
    const std::string export_name = name == nullptr ? "" : name;
    client = std::make_unique<Client>(registered->plugin->open(readonly != 0, export_name), comes,
                                      export_name);
  });
  if (code != 0) client_comes = comes;
  return code == 0 ? client.release() : nullptr;
}

int list_exports(int /*readonly*/, int /*is_tls*/, nbdkit_exports* found) {
  return answered([&] {
    for (const std::string& name : registered->plugin->exports()) {
      if (nbdkit_add_export(found, name.c_str(), nullptr) == -1) {
        throw Error(errno, "the list of exports cannot be sent");
      }
    }
  });
}

void close(void* handle) {
  if (static_cast<Client*>(handle)->has_come) client_comes = true;
  delete static_cast<Client*>(handle);
}

// Called when a client opens an export, and by filters whenever they check whether this server may
// still write the disk.
const char* export_description(void* handle) {
  const char* text = nullptr;
  guarded([&] {
    auto& client = *static_cast<Client*>(handle);
    text = client.descriptions.text_of(client.layer->identity());
  });
  return text;
}

// --- What the layer can do ---

std::int64_t get_size(void* handle) {
  return static_cast<std::int64_t>(layer_of(handle).traits().size_bytes);
}
int block_size(void* handle, std::uint32_t* minimum, std::uint32_t* preferred,
               std::uint32_t* maximum) {
  const LayerTraits& traits = layer_of(handle).traits();
  *minimum = traits.minimum_block_size;
  *preferred = traits.preferred_block_size;
  *maximum = traits.maximum_block_size;
  return 0;
}
// Each of nbdkit's queries is answered by a member of the traits.
template <auto Member>
int can(void* handle) {
  return value_of(layer_of(handle).traits().*Member);
}
// nbdkit only queries whether a plugin can zero natively, and emulates the rest.
int can_zero(void* handle) {
  return value_of(layer_of(handle).traits().zero == Support::native);
}

// --- Requests ---

int pread(void* handle, void* buf, std::uint32_t count, std::uint64_t offset,
          std::uint32_t /*flags*/) {
  return request(meters_of(handle).reads, count, registered->faults.reads, [&] {
    layer_of(handle).pread({static_cast<std::byte*>(buf), count}, offset);
  });
}
int pwrite(void* handle, const void* buf, std::uint32_t count, std::uint64_t offset,
           std::uint32_t flags) {
  return request(meters_of(handle).writes, count, registered->faults.writes, [&] {
    layer_of(handle).pwrite({static_cast<const std::byte*>(buf), count}, offset,
                            durability_of(flags));
  });
}
int flush(void* handle, std::uint32_t /*flags*/) {
  return request(meters_of(handle).flushes, 0, registered->faults.flushes,
                 [&] { layer_of(handle).flush(); });
}
int trim(void* handle, std::uint32_t count, std::uint64_t offset, std::uint32_t flags) {
  return request(meters_of(handle).trims, count, registered->faults.trims,
                 [&] { layer_of(handle).trim(count, offset, durability_of(flags)); });
}
int zero(void* handle, std::uint32_t count, std::uint64_t offset, std::uint32_t flags) {
  return request(meters_of(handle).zeros, count, registered->faults.zeros,
                 [&] { layer_of(handle).zero(count, offset, zero_options_of(flags)); });
}
int extents(void* handle, std::uint32_t count, std::uint64_t offset, std::uint32_t flags,
            nbdkit_extents* found) {
  return request(meters_of(handle).extents, count, registered->faults.extents, [&] {
    ExtentList list;
    layer_of(handle).extents(count, offset, (flags & NBDKIT_FLAG_REQ_ONE) != 0, list);
    add_extents(found, list);
  });
}
int cache(void* handle, std::uint32_t count, std::uint64_t offset, std::uint32_t /*flags*/) {
  return request(meters_of(handle).cache, count, registered->faults.cache,
                 [&] { layer_of(handle).cache(count, offset); });
}

nbdkit_plugin callbacks_of(const PluginInfo& info, const std::string& help) {
  nbdkit_plugin callbacks{};
  callbacks._struct_size = sizeof callbacks;
  callbacks._api_version = NBDKIT_API_VERSION;
  callbacks._thread_model = THREAD_MODEL;
  callbacks.name = info.name;
  callbacks.longname = info.longname;
  callbacks.version = info.version;
  callbacks.description = info.description;
  callbacks.magic_config_key = info.magic_config_key;
  callbacks.errno_is_preserved = 1;
  callbacks.unload = unload;
  callbacks.config = config;
  callbacks.config_complete = config_complete;
  callbacks.config_help = help.c_str();
  callbacks.dump_plugin = dump_plugin;
  callbacks.get_ready = get_ready;
  callbacks.after_fork = after_fork;
  callbacks.cleanup = cleanup;
  callbacks.preconnect = preconnect;
  callbacks.open = open;
  callbacks.list_exports = list_exports;
  callbacks.close = close;
  callbacks.export_description = export_description;
  callbacks.get_size = get_size;
  callbacks.block_size = block_size;
  callbacks.can_write = can<&LayerTraits::can_write>;
  callbacks.can_flush = can<&LayerTraits::can_flush>;
  callbacks.can_trim = can<&LayerTraits::can_trim>;
  callbacks.can_zero = can_zero;
  callbacks.can_fast_zero = can<&LayerTraits::can_fast_zero>;
  callbacks.can_extents = can<&LayerTraits::can_extents>;
  callbacks.can_fua = can<&LayerTraits::fua>;
  callbacks.can_multi_conn = can<&LayerTraits::can_multi_conn>;
  callbacks.can_cache = can<&LayerTraits::cache>;
  callbacks.pread = pread;
  callbacks.pwrite = pwrite;
  callbacks.flush = flush;
  callbacks.trim = trim;
  callbacks.zero = zero;
  callbacks.extents = extents;
  callbacks.cache = cache;
  return callbacks;
}

}  // namespace

Metrics Plugin::metrics() {
  return registered->metrics.of_layer();
}

nbdkit_plugin* register_plugin(std::unique_ptr<Plugin> plugin) {
  prepare_process();
  registered = new Registration(plugin->info().name);
  registered->parameters = plugin->parameters();
  registered->parameters.add(registered->metrics.parameter());
  registered->help = registered->parameters.help();
  registered->callbacks = callbacks_of(plugin->info(), registered->help);
  registered->plugin = std::move(plugin);
  return &registered->callbacks;
}

}  // namespace nbdstack
