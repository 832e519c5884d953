// Package together has tests alone: the agent's reconcilers over controller-runtime's fake API
// server, seen as the agent's cache shows it, and with time in the test's hand. It shows what takes
// several of them, or months. It knows no server: what one does is for test/.
package together
