#include "common/nbdkit/filter.hpp"

#include <fmt/format.h>
#include <nbdkit-filter.h>

#include <chrono>
#include <optional>

#include "common/log.hpp"
#include "common/nbdkit/conversions.hpp"
#include "common/nbdkit/guard.hpp"
#include "common/nbdkit/layer_metrics.hpp"
#include "common/nbdkit/nbdkit_clock.hpp"
#include "common/nbdkit/nbdkit_version.hpp"
#include "common/nbdkit/next_layer.hpp"
#include "common/nbdkit/request_meters.hpp"
#include "common/nbdkit/server_options.hpp"
#include "common/nbdkit/server_start.hpp"
#include "common/nbdkit/single_seat.hpp"

namespace nbdstack {
namespace {

constexpr std::chrono::milliseconds kLookForSeatEvery(10);

// One filter is one shared library; everything here is hidden in it.
struct Registration {
  explicit Registration(const char* name) : metrics(name) {}

  LayerMetrics metrics;  // outlives all that counts
  std::unique_ptr<Filter> filter;
  ParameterTable parameters;
  std::string help;
  BelowFilter below;  // from get_ready on
  nbdkit_filter callbacks{};
  RequestFaults faults;
  SingleSeat seat;                       // of the layers below, if they serve one connection only
  std::optional<NbdkitBackend> backend;  // from after_fork on
};
Registration* registered = nullptr;

// One client's connection. `below` and `layer` exist from prepare until the layers below are
// closed.
struct Connection {
  nbdkit_context* context = nullptr;
  bool is_seated = false;
  OpenRequest request;
  RequestMeters meters;
  std::optional<ConnectionMeter> counted;
  std::optional<NextLayer> below;
  std::unique_ptr<Layer> layer;
};

const RequestMeters& meters_of(void* handle) {
  return static_cast<Connection*>(handle)->meters;
}

Layer& layer_of(void* handle) {
  return *static_cast<Connection*>(handle)->layer;
}

std::span<std::byte> bytes(void* data, std::uint32_t count) {
  return {static_cast<std::byte*>(data), count};
}
std::span<const std::byte> bytes(const void* data, std::uint32_t count) {
  return {static_cast<const std::byte*>(data), count};
}

// Runs `body`. Returns nbdkit's value for success, or for a failure that has been logged.
template <typename Body>
int answered(Body&& body) {
  return guarded(body) == 0 ? 0 : -1;
}

// --- Once per server ---

void unload() {
  delete registered;
  registered = nullptr;
}

// Prefixes lines with the filter's name, as nbdkit recommends, because all filters print here.
void dump_plugin() {
  guarded([] {
    fmt::print("{}_nbdstack_version={}\n", registered->filter->info().name, NBDSTACK_VERSION);
  });
}

int config(nbdkit_next_config* next, nbdkit_backend* nxdata, const char* key, const char* value) {
  bool ours = false;
  if (guarded([&] { ours = registered->parameters.set(key, value); }) != 0) return -1;
  const bool is_done = ours && !registered->metrics.is_for_those_below(key);
  return is_done ? 0 : next(nxdata, key, value);
}

int config_complete(nbdkit_next_config_complete* next, nbdkit_backend* nxdata) {
  if (guarded([] { registered->filter->config_complete(); }) != 0) return -1;
  return next(nxdata);
}

// Returns what is below for an export of this name.
BelowFilter below_of(const std::string& export_name) {
  BelowFilter below = registered->below;
  below.meters = BelowMeters(registered->metrics.of_export(export_name));
  return below;
}

int get_ready(int thread_model) {
  registered->below.thread_model = thread_model;
  return answered([] {
    const Filter& filter = *registered->filter;
    registered->below.shows_plugins_disk = !may_change_the_disk_below(filter.info().name);
    registered->metrics.get_ready();
    registered->filter->get_ready();
    ServerStart::arm(nullptr);
  });
}

int after_fork(nbdkit_backend* backend) {
  return answered([&] {
    registered->backend.emplace(backend, below_of(""), registered->seat);
    ServerStart::run([] { registered->filter->after_fork(*registered->backend); });
    registered->metrics.after_fork();
  });
}

void cleanup(nbdkit_backend* /*backend*/) {
  if (!registered->backend) return;
  ServerStart::end();
  guarded([&] { registered->filter->cleanup(*registered->backend); });
  registered->faults.end();
  registered->metrics.cleanup();
}

// --- Once per client ---

// Waits until our own connection, which writes an earlier server's data back, is closed.
void take_seat(Connection& connection) {
  if (!registered->below.has_single_seat()) return;
  NbdkitClock clock;
  while (!registered->seat.try_take()) clock.sleep_for(kLookForSeatEvery);
  connection.is_seated = true;
}

void leave_seat(Connection& connection) {
  if (connection.is_seated) registered->seat.leave();
  connection.is_seated = false;
}

// nbdkit closes the layers below after this one, or not at all if the server was told to stop
// meanwhile. The next client could meet a connection that is still open, and nbdkit's ext2 filter
// makes its file system consistent when it is closed. So with a single seat they are closed here.
void close_below(Connection& connection) {
  if (!connection.is_seated || !connection.below) return;  // those below may not be prepared
  connection.layer.reset();
  connection.below.reset();
  nbdkit_next* const below = nbdkit_context_set_next(connection.context, nullptr);
  if (below != nullptr) {
    below->finalize(below);
    nbdkit_next_context_close(below);
  }
  leave_seat(connection);
}

void* open(nbdkit_next_open* next, nbdkit_context* context, int readonly, const char* exportname,
           int is_tls) {
  std::unique_ptr<Connection> connection;
  const int code = guarded([&] {
    connection = std::make_unique<Connection>();
    connection->request = {
        .export_name = exportname, .readonly = readonly != 0, .is_tls = is_tls != 0};
    connection->context = context;
    connection->meters =
        RequestMeters(registered->metrics.of_export(exportname), RequestMeter::Measures::some);
    connection->counted.emplace(connection->meters.connections);
    take_seat(*connection);
  });
  if (code != 0) return nullptr;
  if (next(context, readonly, exportname) == -1) {
    leave_seat(*connection);
    return nullptr;
  }
  return connection.release();
}

void close(void* handle) {
  const std::unique_ptr<Connection> connection(static_cast<Connection*>(handle));
  leave_seat(*connection);
}

int prepare(nbdkit_next* next, void* handle, int /*readonly*/) {
  auto& connection = *static_cast<Connection*>(handle);
  return answered([&] {
    connection.below.emplace(next, connection.request.readonly,
                             below_of(connection.request.export_name));
    connection.layer = registered->filter->open(*connection.below, connection.request);
  });
}

int finalize(nbdkit_next* /*next*/, void* handle) {
  // A failure has been logged; no client is left to be told, and the other layers must still be
  // finalized.
  auto& connection = *static_cast<Connection*>(handle);
  if (connection.layer != nullptr) guarded([&] { connection.layer->finalize(); });
  guarded([&] { connection.request.stay->end(); });
  close_below(connection);
  return 0;
}

// --- What the layer can do ---

std::int64_t get_size(nbdkit_next* /*next*/, void* handle) {
  return guarded_result<std::int64_t>(
      [&] { return static_cast<std::int64_t>(layer_of(handle).traits().size_bytes); });
}
int block_size(nbdkit_next* /*next*/, void* handle, std::uint32_t* minimum,
               std::uint32_t* preferred, std::uint32_t* maximum) {
  return answered([&] {
    const LayerTraits& traits = layer_of(handle).traits();
    *minimum = traits.minimum_block_size;
    *preferred = traits.preferred_block_size;
    *maximum = traits.maximum_block_size;
  });
}
// Each of nbdkit's queries is answered by a member of the traits.
template <auto Member>
int can(nbdkit_next* /*next*/, void* handle) {
  return guarded_result<int>([&] { return value_of(layer_of(handle).traits().*Member); });
}

// --- Requests ---

template <typename Body>
int request(const RequestMeter& meter, std::uint64_t bytes, Fault& fault, int* err, Body&& body) {
  const int code = meter.measured(bytes, [&] { return guarded_request(fault, body); });
  if (code == 0) return 0;
  *err = errno_for_client(code);
  return -1;
}

int pread(nbdkit_next* /*next*/, void* handle, void* buf, std::uint32_t count, std::uint64_t offset,
          std::uint32_t /*flags*/, int* err) {
  return request(meters_of(handle).reads, count, registered->faults.reads, err,
                 [&] { layer_of(handle).pread(bytes(buf, count), offset); });
}
int pwrite(nbdkit_next* /*next*/, void* handle, const void* buf, std::uint32_t count,
           std::uint64_t offset, std::uint32_t flags, int* err) {
  return request(meters_of(handle).writes, count, registered->faults.writes, err,
                 [&] { layer_of(handle).pwrite(bytes(buf, count), offset, durability_of(flags)); });
}
int flush(nbdkit_next* /*next*/, void* handle, std::uint32_t /*flags*/, int* err) {
  return request(meters_of(handle).flushes, 0, registered->faults.flushes, err,
                 [&] { layer_of(handle).flush(); });
}
int trim(nbdkit_next* /*next*/, void* handle, std::uint32_t count, std::uint64_t offset,
         std::uint32_t flags, int* err) {
  return request(meters_of(handle).trims, count, registered->faults.trims, err,
                 [&] { layer_of(handle).trim(count, offset, durability_of(flags)); });
}
int zero(nbdkit_next* /*next*/, void* handle, std::uint32_t count, std::uint64_t offset,
         std::uint32_t flags, int* err) {
  return request(meters_of(handle).zeros, count, registered->faults.zeros, err,
                 [&] { layer_of(handle).zero(count, offset, zero_options_of(flags)); });
}
int extents(nbdkit_next* /*next*/, void* handle, std::uint32_t count, std::uint64_t offset,
            std::uint32_t flags, nbdkit_extents* found, int* err) {
  return request(meters_of(handle).extents, count, registered->faults.extents, err, [&] {
    ExtentList list;
    layer_of(handle).extents(count, offset, (flags & NBDKIT_FLAG_REQ_ONE) != 0, list);
    add_extents(found, list);
  });
}
int cache(nbdkit_next* /*next*/, void* handle, std::uint32_t count, std::uint64_t offset,
          std::uint32_t /*flags*/, int* err) {
  return request(meters_of(handle).cache, count, registered->faults.cache, err,
                 [&] { layer_of(handle).cache(count, offset); });
}

nbdkit_filter callbacks_of(const FilterInfo& info, const std::string& help) {
  return {
      ._api_version = NBDKIT_FILTER_API_VERSION,
      ._version = NBDKIT_VERSION_STRING,
      .name = info.name,
      .longname = info.longname,
      .description = info.description,
      .unload = unload,
      .config = config,
      .config_complete = config_complete,
      .config_help = help.c_str(),
      .get_ready = get_ready,
      .after_fork = after_fork,
      .cleanup = cleanup,
      .open = open,
      .close = close,
      .prepare = prepare,
      .finalize = finalize,
      .get_size = get_size,
      .block_size = block_size,
      .can_write = can<&LayerTraits::can_write>,
      .can_flush = can<&LayerTraits::can_flush>,
      .can_trim = can<&LayerTraits::can_trim>,
      .can_zero = can<&LayerTraits::zero>,
      .can_fast_zero = can<&LayerTraits::can_fast_zero>,
      .can_extents = can<&LayerTraits::can_extents>,
      .can_fua = can<&LayerTraits::fua>,
      .can_multi_conn = can<&LayerTraits::can_multi_conn>,
      .can_cache = can<&LayerTraits::cache>,
      .pread = pread,
      .pwrite = pwrite,
      .flush = flush,
      .trim = trim,
      .zero = zero,
      .extents = extents,
      .cache = cache,
  };
}

}  // namespace

Metrics Filter::metrics_of_export(const std::string& name) {
  return registered->metrics.of_export(name);
}

nbdkit_filter* register_filter(std::unique_ptr<Filter> filter) {
  prepare_process();
  if (registered != nullptr) {
    // nbdkit has loaded the library once, and its state is that of one filter.
    nbdkit_error("--filter=%s is given twice: it can stand in a stack once", filter->info().name);
    return nullptr;
  }
  registered = new Registration(filter->info().name);
  registered->parameters = filter->parameters();
  registered->parameters.add(registered->metrics.parameter());
  registered->help = registered->parameters.help();
  registered->callbacks = callbacks_of(filter->info(), registered->help);
  set_dump_plugin(registered->callbacks, dump_plugin);
  registered->filter = std::move(filter);
  return &registered->callbacks;
}

}  // namespace nbdstack
