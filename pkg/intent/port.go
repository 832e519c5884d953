package intent

// maxPort is the highest port (RFC 9293 section 3.1: 16 bits).
const maxPort = 65535

// PortNumber reads a port from JSON, where a number is an int64 or, from a decoder
// that knows no integers, a float64. What is no port is 0.
func PortNumber(value any) uint32 {
	switch n := value.(type) {
	case int64:
		if n > 0 && n <= maxPort {
			return uint32(n)
		}
	case float64:
		if n > 0 && n <= maxPort {
			return uint32(n)
		}
	}
	return 0
}
