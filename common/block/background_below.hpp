// Provides background work with a layer below.
//
//   export             layer                                   available
//   the default one    its own, open while there is            with or without clients
//                      something to do (OwnBelow); a client's
//                      if the layer below takes no more
//                      connections
//   one with a name,   a client's (ClientsBelow)               while there are clients
//   or over layers
//   that serve one
//   connection at a
//   time
//
// The layer below counts its own connection as a client: nbdkit's filter limit refuses one more,
// and exitlast waits for its end. So it is kept no longer than it is needed.
//
// A layer that belongs to no client has no export name (common/block/lent_layer.hpp): it is that of
// the default export, whatever name it was opened with. So dirty data of an export with a name
// waits for a client of that export.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "common/block/layer.hpp"
#include "common/block/lent_layer.hpp"
#include "common/error.hpp"

namespace nbdstack {

// Used by one thread at a time.
class BackgroundBelow {
 public:
  using Use = std::function<void(Layer&)>;

  BackgroundBelow() = default;
  BackgroundBelow(const BackgroundBelow&) = delete;
  BackgroundBelow& operator=(const BackgroundBelow&) = delete;
  virtual ~BackgroundBelow() = default;

  // Calls use(layer); its exceptions propagate. Returns false if there is no layer now. Throws
  // Error if the layer cannot be opened.
  virtual bool with(const Use& use) = 0;
  // Called after the work with the layer failed, because its connection may be lost: the next
  // with() takes another one.
  virtual void take_another() = 0;
  // Called when there was no work for a while, and none is waiting.
  virtual void rest() = 0;
};

class OwnBelow final : public BackgroundBelow {
 public:
  using Open = std::function<std::unique_ptr<Layer>()>;

  // `clients` outlives this. Exceptions of `open` propagate only if no client has a layer to lend.
  OwnBelow(Open open, LentLayers& clients) : open_(std::move(open)), clients_(clients) {}
  bool with(const Use& use) override {
    if (uses_clients_ && clients_.with_one(use)) return true;
    uses_clients_ = false;
    try {
      if (layer_ == nullptr) layer_ = open_();
    } catch (const Error&) {
      uses_clients_ = clients_.with_one(use);
      if (uses_clients_) return true;
      throw;
    }
    use(*layer_);
    return true;
  }
  void take_another() override {
    layer_.reset();
    clients_.put_first_last();
  }
  void rest() override {
    layer_.reset();
    uses_clients_ = false;
  }

 private:
  const Open open_;
  LentLayers& clients_;
  std::unique_ptr<Layer> layer_;
  bool uses_clients_ = false;  // after its own could not be opened, while a client lends one
};

class ClientsBelow final : public BackgroundBelow {
 public:
  // `clients` outlives this.
  explicit ClientsBelow(LentLayers& clients) : clients_(clients) {}
  bool with(const Use& use) override { return clients_.with_one(use); }
  void take_another() override { clients_.put_first_last(); }
  void rest() override {}

 private:
  LentLayers& clients_;
};

}  // namespace nbdstack
