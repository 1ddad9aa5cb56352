// For programs that take port 8443 by themselves, where the server is at another:
//
//   PORT_FOR_8443=12345 NODE_OPTIONS="--import …/port_8443.mjs" node …

import net from "node:net";

const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...given) {
  const [options] = Array.isArray(given[0]) ? given[0] : given;
  if (Number(options.port) === 8443) options.port = process.env.PORT_FOR_8443;
  return connect.apply(this, given);
};
